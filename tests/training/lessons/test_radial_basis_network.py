import numpy as np
import pytest

from training.lessons.radial_basis_network import (
    RECIPE,
    ROWS,
    XOR,
    Interpolate,
    features,
    fit,
    place_centres,
    xor_by_hand,
)
from training.recipe.lesson import LessonContext


def test_xor_by_hand_and_a_sine_that_too_many_units_follow_into_its_noise(tmp_path, console):
    found = RECIPE.study(LessonContext(directory=tmp_path, console=console))
    assert found.missed == ()
    values = {figure.name: figure.value for figure in found.figures}
    assert values["sine, error with 50 units"] > 1.5 * values["sine, that error"]
    for picture in found.pictures.values():
        assert picture.read_bytes().startswith(b"\x89PNG\r\n\x1a\n")


def test_the_answers_of_units_near_and_far():
    near = features(np.array([[0.0, 0.0], [3.0, 4.0]]), np.array([[0.0, 0.0]]), 5.0)
    assert near[:, 0] == pytest.approx([1.0, np.exp(-25 / 50)])
    assert xor_by_hand().answers(ROWS) == pytest.approx(XOR, abs=1e-12)


def test_with_a_centre_at_each_point_the_network_meets_all_of_them():
    rng = np.random.default_rng(0)
    x, y = rng.uniform(-1, 1, (8, 2)), rng.normal(size=8)
    assert fit(x, y, x, width=0.3, ridge=0.0).answers(x) == pytest.approx(y, abs=1e-6)


def test_centres_move_to_the_middle_of_their_points():
    groups = np.array([[0.0], [0.2], [10.0], [10.4]])
    assert sorted(place_centres(groups, 2, seed=0)[:, 0]) == pytest.approx([0.1, 10.2])


def test_more_units_than_points_are_refused():
    with pytest.raises(ValueError, match="none above the 60 points"):
        Interpolate(counts=(61,))
