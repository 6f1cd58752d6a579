import numpy as np
import pytest

from tests.training.tiny_networks import PIXELS, cnn, mlp, pictures
from training.network.finishing import mean_over_mirror
from training.publish.ascent import Ascent
from training.recipe.recipe import Signature


@pytest.mark.parametrize("build", [mlp, cnn], ids=["sequential", "functional"])
def test_an_instance_climbs_to_a_class_and_stays_within_its_type(build):
    model = build(seed=1)
    start = pictures(1)["pixels"][0]
    reached = [Ascent(model, PIXELS).climb(start, label) for label in range(3)]
    found = {label: instance for label, instance in enumerate(reached) if instance is not None}
    assert len(found) >= 2
    for label, instance in found.items():
        assert instance.dtype == np.uint8
        assert instance.shape == PIXELS.shape
        assert int(model(instance[None], training=False).numpy().argmax()) == label


def test_an_instance_of_the_class_is_returned_unchanged():
    model, start = mlp(), pictures(1)["pixels"][0]
    label = int(model(start[None], training=False).numpy().argmax())
    np.testing.assert_array_equal(Ascent(model, PIXELS).climb(start, label), start)


def test_a_mean_of_several_networks_can_be_climbed():
    signature = Signature(input=PIXELS, classes=3)
    model = mean_over_mirror([mlp(seed=1), mlp(seed=2)], signature)
    start = np.full(PIXELS.shape, 100, np.uint8)
    for label in range(3):
        reached = Ascent(model, PIXELS).climb(start, label)
        assert reached is not None
        assert model(reached[None]).numpy()[0].argmax() == label
