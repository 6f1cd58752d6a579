"""Functions run eagerly: tracing costs more than the few steps here."""

import numpy as np
import pytest

from training.lessons.garments_gan import (
    KINDS,
    Generate,
    build_discriminator,
    build_generator,
    draw,
    share_as_asked,
    train,
    variety,
)
from training.recipe.lesson import LessonContext

pytestmark = pytest.mark.filterwarnings("ignore:Even though the `tf.config.experimental_run_functions_eagerly`")


@pytest.fixture(autouse=True)
def _eagerly():
    import tensorflow as tf

    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


def test_too_few_steps_are_a_reported_miss(tmp_path, console):
    found = Generate(drawings=60, hidden=8, steps=2)(LessonContext(directory=tmp_path, console=console))
    assert "of the kind that was asked for" in {figure.name for figure in found.missed}
    [picture] = found.pictures.values()
    assert picture.read_bytes().startswith(b"\x89PNG\r\n\x1a\n")


def test_both_networks_learn_from_a_step():
    settings = Generate(drawings=40, hidden=8, steps=1)
    networks = [build_generator(settings), build_discriminator(settings)]
    before = [network.get_weights() for network in networks]
    train(*networks, *draw(40, 0), settings)
    for network, start in zip(networks, before, strict=True):
        assert all((now != then).any() for now, then in zip(network.get_weights(), start, strict=True))


def test_a_picture_is_of_the_kind_whose_mean_drawing_is_the_nearest():
    drawings, kinds = draw(200, 1)
    means = np.stack([drawings[kinds == kind].mean(axis=0) for kind in range(KINDS)])
    assert share_as_asked(means, np.arange(KINDS), means) == 1
    assert share_as_asked(means, (np.arange(KINDS) + 1) % KINDS, means) == 0
    assert share_as_asked(drawings, kinds, means) > 0.95


def test_copies_have_no_variety():
    drawings, kinds = draw(50, 2)
    assert variety(drawings, kinds) > 1
    copies = drawings[[np.flatnonzero(kinds == kind)[0] for kind in kinds]]
    assert variety(copies, kinds) == pytest.approx(0, abs=1e-4)  # float32
