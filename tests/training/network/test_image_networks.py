import numpy as np
import pytest

from app.contract.tensor_spec import TensorSpec
from training.network.image_networks import ImageNetwork, build_image_network
from training.recipe.recipe import Signature


def build(shape, **settings):
    signature = Signature(input=TensorSpec(name="pixels", dtype="uint8", shape=shape), classes=4)
    return build_image_network(ImageNetwork(filters=4, **settings), signature)


@pytest.mark.parametrize("name", ["small-cnn", "residual-cnn"])
@pytest.mark.parametrize("shape", [(28, 28), (32, 48, 3), (8, 8, 3)])
def test_pictures_of_any_size_get_probabilities(name, shape):
    model = build(shape, name=name)
    pixels = np.random.default_rng(0).integers(0, 256, (3, *shape)).astype(np.uint8)
    answers = model.predict(pixels, verbose=0)
    assert (model.input_names, model.output_names) == (["pixels"], ["probabilities"])
    assert answers.shape == (3, 4)
    np.testing.assert_allclose(answers.sum(axis=1), 1, atol=1e-5)


def test_the_residual_network_has_shortcuts():
    kinds = {
        name: [type(layer).__name__ for layer in build((32, 32, 3), name=name).layers]
        for name in ("small-cnn", "residual-cnn")
    }
    assert "Add" not in kinds["small-cnn"]
    assert kinds["residual-cnn"].count("Add") == 2


@pytest.mark.parametrize(("settings", "rule"), [({"filters": 0}, "at least 1"), ({"dropout": 1.0}, "below 1")])
def test_settings_out_of_range_are_refused(settings, rule):
    with pytest.raises(ValueError, match=rule):
        ImageNetwork(**settings)
