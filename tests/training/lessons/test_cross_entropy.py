import math

import numpy as np
import pytest

from training.lessons.cross_entropy import RECIPE, CrossEntropy, cross_entropy, keras_figures
from training.recipe.lesson import LessonContext


def test_the_natural_logarithm_gives_56_and_no_logarithm_gives_what_the_course_prints(tmp_path, console):
    found = RECIPE.study(LessonContext(directory=tmp_path, console=console))
    assert found.missed == ()
    values = {figure.name: figure.value for figure in found.figures}
    assert values["natural logarithm"] == pytest.approx(-math.log(0.57), abs=1e-12)
    assert values["natural logarithm, in Keras"] == pytest.approx(-math.log(0.57), abs=1e-12)
    assert values["logarithm to base 10"] == pytest.approx(-math.log10(0.57), abs=1e-12)
    assert "prints .23" in found.notes[0]
    [picture] = found.pictures.values()
    assert picture.read_bytes().startswith(b"\x89PNG\r\n\x1a\n")


def test_several_targets_are_weighed_and_an_impossible_class_costs_nothing_if_it_is_not_the_target():
    assert cross_entropy(np.array([0.5, 0.5]), np.array([0.25, 0.75]), base=2.0) == pytest.approx(
        0.5 * 2 + 0.5 * math.log2(4 / 3)
    )
    assert cross_entropy(np.array([1.0, 0.0]), np.array([1.0, 0.0]), base=np.e) == 0


def test_the_gradient_of_the_loss_is_the_prediction_less_the_target():
    prediction, target = np.array([0.2, 0.7, 0.1]), np.array([0.0, 0.0, 1.0])
    _, gradient = keras_figures(target, prediction)
    np.testing.assert_allclose(gradient, [0.2, 0.7, -0.9], rtol=0, atol=1e-12)


def test_with_another_probability_the_printed_figures_are_only_recorded(tmp_path, console):
    found = CrossEntropy(probability=0.8)(LessonContext(directory=tmp_path, console=console))
    assert {figure.name for figure in found.figures if figure.holds} == {
        "natural logarithm, in Keras",
        "gradient, difference",
    }
    assert found.missed == ()


@pytest.mark.parametrize("probability", [0.0, 1.0])
def test_a_certain_prediction_is_refused(probability):
    with pytest.raises(ValueError, match="probability must be above 0 and below 1"):
        CrossEntropy(probability=probability)
