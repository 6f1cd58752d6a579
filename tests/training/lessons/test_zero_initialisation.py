import numpy as np
import pytest

from training.lessons.zero_initialisation import (
    RANDOM,
    XOR,
    Initialise,
    Start,
    Weights,
    descend,
    keras_apart,
    loss_and_gradient,
    starting,
)
from training.recipe.lesson import LessonContext


def test_units_that_start_equal_stay_one_unit_and_random_ones_learn_xor(tmp_path, console):
    found = Initialise(random_starts=3, steps=1000)(LessonContext(directory=tmp_path, console=console))
    assert found.missed == ()
    values = {figure.name: figure.value for figure in found.figures}
    assert values["zeros, tanh: loss"] == pytest.approx(np.log(2), abs=1e-12)
    assert [value for name, value in values.items() if name.endswith("different units")] == [1, 1, 1, 1, 4]
    assert values["of 3 random starts, learn all rows"] == 2
    [picture] = found.pictures.values()
    assert picture.read_bytes().startswith(b"\x89PNG\r\n\x1a\n")


def test_with_tanh_or_relu_and_zeros_no_weight_ever_moves():
    zeros = starting(np.zeros((2, 4)), np.zeros(4))
    for activation in ("tanh", "ReLU"):
        weights, losses = descend(Start(activation=activation, weights=zeros), rate=0.5, steps=20)
        assert all((value == 0).all() for value in vars(weights).values())
        assert losses.tolist() == [losses[0]] * 21


def test_the_gradient_is_the_slope_of_the_loss():
    weights = Initialise().starts()[RANDOM].weights
    _, gradient = loss_and_gradient(weights, "sigmoid")
    for name, value in vars(weights).items():
        nudge = np.zeros_like(value)
        nudge.flat[-1] = 1e-6
        up, down = (
            loss_and_gradient(Weights(**{**vars(weights), name: moved}), "sigmoid")[0]
            for moved in (value + nudge, value - nudge)
        )
        assert (up - down) / 2e-6 == pytest.approx(vars(gradient)[name].flat[-1], abs=1e-8)
    assert keras_apart(weights) < 1e-12


def test_too_few_steps_are_a_reported_miss(tmp_path, console):
    found = Initialise(random_starts=1, steps=1)(LessonContext(directory=tmp_path, console=console))
    assert {figure.name for figure in found.missed} == {
        "random, tanh: rows right",
        "random, tanh: loss",
        "of 1 random starts, learn all rows",
    }
    assert XOR.tolist() == [0, 1, 1, 0]
