import math

import numpy as np
import pytest

from training.lessons.activations import RECIPE, Table
from training.measure.findings import Findings
from training.network.activations import (
    ACTIVATIONS,
    heaviside,
    leaky_relu,
    relu,
    sigmoid,
    softmax,
    softplus,
    tanh,
    unit_step,
)
from training.recipe.lesson import LessonContext

BY_NAME = {activation.name: activation for activation in ACTIVATIONS}
PNG = b"\x89PNG\r\n\x1a\n"


def study(tmp_path, console, **settings) -> Findings:
    return Table(**settings)(LessonContext(directory=tmp_path, console=console))


def test_everything_is_as_it_should_be_and_drawn(tmp_path, console):
    found = study(tmp_path, console)
    assert found.missed == ()
    assert {type(figure.holds) for figure in found.figures} == {bool}
    assert {figure.name: figure.value for figure in found.figures}["softplus at 0"] == 0.6931471805599453
    [picture] = found.pictures.values()
    assert picture.parent == tmp_path
    assert picture.read_bytes().startswith(PNG)
    assert RECIPE.study == Table()


def test_the_table_has_the_ten_functions_of_the_course():
    assert list(BY_NAME) == [
        "unit step",
        "sign",
        "linear",
        "piece-wise linear",
        "sigmoid",
        "tanh",
        "ReLU",
        "softplus",
        "leaky ReLU",
        "softmax",
    ]


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("unit step", (0, 0, 0.5, 1, 1)),
        ("sign", (-1, -1, 0, 1, 1)),
        ("linear", (-2, -0.25, 0, 0.25, 2)),
        ("piece-wise linear", (0, 0.25, 0.5, 0.75, 1)),
        ("sigmoid", (0.11920292202211755, 0.43782349911420193, 0.5, 0.5621765008857981, 0.8807970779778823)),
        ("tanh", (-0.9640275800758169, -0.24491866240370913, 0, 0.24491866240370913, 0.9640275800758169)),
        ("ReLU", (0, 0, 0, 0.25, 2)),
        (
            "softplus",
            (0.1269280110429726, 0.5759394198788435, 0.6931471805599453, 0.8259394198788435, 2.1269280110429727),
        ),
        ("leaky ReLU", (-0.02, -0.0025, 0, 0.25, 2)),
        ("softmax", (0.11920292202211755, 0.43782349911420193, 0.5, 0.5621765008857981, 0.8807970779778823)),
    ],
)
def test_values_of_each_function(name, values):
    points = np.array([-2.0, -0.25, 0.0, 0.25, 2.0])
    np.testing.assert_allclose(BY_NAME[name].function(points), values, rtol=0, atol=1e-15)


@pytest.mark.parametrize(
    ("name", "slopes"),
    [
        ("unit step", (0, 0, math.nan, 0, 0)),
        ("sign", (0, 0, math.nan, 0, 0)),
        ("linear", (1, 1, 1, 1, 1)),
        ("piece-wise linear", (0, math.nan, 1, math.nan, 0)),
        ("sigmoid", (0.10499358540350652, 0.2350037122015945, 0.25, 0.2350037122015945, 0.10499358540350652)),
        ("tanh", (0.07065082485316443, 0.7864477329659274, 1, 0.7864477329659274, 0.07065082485316443)),
        ("ReLU", (0, 0, math.nan, 1, 1)),
        ("softplus", (0.11920292202211755, 0.3775406687981454, 0.5, 0.6224593312018546, 0.8807970779778823)),
        ("leaky ReLU", (0.01, 0.01, math.nan, 1, 1)),
        ("softmax", (0.10499358540350652, 0.2350037122015945, 0.25, 0.2350037122015945, 0.10499358540350652)),
    ],
)
def test_derivatives_and_where_they_do_not_exist(name, slopes):
    points = np.array([-2.0, -0.5, 0.0, 0.5, 2.0])
    np.testing.assert_allclose(BY_NAME[name].derivative(points), slopes, rtol=0, atol=1e-15)


def test_the_two_steps_differ_at_0_and_nowhere_else():
    points = np.array([-3.0, -1e-300, 0.0, 1e-300, 3.0])
    assert heaviside(points).tolist() == [0, 0, 0, 1, 1]
    assert unit_step(points).tolist() == [0, 0, 0.5, 1, 1]


def test_there_is_no_overflow_far_from_0():
    far = np.array([-1000.0, 1000.0])
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        assert sigmoid(far).tolist() == [0, 1]
        assert tanh(far).tolist() == [-1, 1]
        assert relu(far).tolist() == [0, 1000]
        assert softplus(far).tolist() == [0, 1000]
        assert leaky_relu(far).tolist() == [-10, 1000]
        assert softmax(np.array([[1000.0, -1000.0], [-1000.0, -1000.0]])).tolist() == [[1, 0], [0.5, 0.5]]
        for activation in ACTIVATIONS:
            assert np.isfinite(activation.derivative(far)).all()


def test_softmax_works_on_the_last_axis():
    logits = np.log(np.array([[[1.0, 2.0, 5.0], [4.0, 4.0, 8.0]]]))
    np.testing.assert_allclose(softmax(logits), [[[0.125, 0.25, 0.625], [0.25, 0.25, 0.5]]], rtol=0, atol=1e-15)


def test_a_difference_step_that_is_too_wide_is_reported_for_the_curved_functions_alone(tmp_path, console):
    missed = study(tmp_path, console, difference_step=0.1).missed
    assert {figure.name for figure in missed} == {
        f"{name}, derivative" for name in ("sigmoid", "tanh", "softplus", "softmax")
    }


@pytest.mark.parametrize(
    "settings", [{"reach": 0.0}, {"points": 1}, {"difference_step": -1e-5}, {"difference_step": 2}]
)
def test_settings_without_sense_are_refused(settings):
    with pytest.raises(ValueError, match=r"must be (above 0|at least 2|at most a quarter of reach)"):
        Table(**settings)
