import numpy as np
import pytest

from training.lessons.plain_rnn import (
    INPUTS,
    RECIPE,
    Recurrence,
    Weights,
    forward,
    gradient_of,
    initial_weights,
    loss_of,
)
from training.recipe.lesson import LessonContext


def test_it_is_keras_s_layer_it_learns_hello_and_without_its_state_it_cannot(tmp_path, console):
    found = RECIPE.study(LessonContext(directory=tmp_path, console=console))
    assert found.missed == ()
    values = {figure.name: figure.value for figure in found.figures}
    assert values["letters after 300 steps"] == "ello"
    assert values["letters right without U"] == 3
    assert values["without U, loss"] > np.log(2) / 2 > 10 * values["loss"]
    [picture] = found.pictures.values()
    assert picture.read_bytes().startswith(b"\x89PNG\r\n\x1a\n")


def test_the_state_by_hand():
    """One unit, W = (1, 0, 0, 0), U = 2, b = 0: tanh(1), tanh(2 tanh 1), ..."""
    one = Weights(
        kernel=np.eye(4)[:, :1],
        recurrent=np.array([[2.0]]),
        bias=np.zeros(1),
        output=np.zeros((1, 4)),
        output_bias=np.zeros(4),
    )
    first = np.tanh(1.0)
    second = np.tanh(2 * first)
    assert INPUTS[:, 0].tolist() == [1, 0, 0, 0]
    np.testing.assert_allclose(forward(one)[:3, 0], [first, second, np.tanh(2 * second)], rtol=0, atol=1e-15)


def test_the_gradient_through_time_is_the_slope_of_the_loss():
    weights = initial_weights(3, seed=5)
    for name, value in vars(weights).items():
        nudge = np.zeros_like(value)
        nudge.flat[-2] = 1e-6
        up, down = (loss_of(Weights(**{**vars(weights), name: moved})) for moved in (value + nudge, value - nudge))
        assert (up - down) / 2e-6 == pytest.approx(vars(gradient_of(weights))[name].flat[-2], abs=1e-8)


def test_too_few_steps_are_a_reported_miss(tmp_path, console):
    missed = {figure.name for figure in Recurrence(steps=1)(LessonContext(directory=tmp_path, console=console)).missed}
    assert {"letters after 1 steps", "loss"} <= missed
