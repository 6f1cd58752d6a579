from itertools import islice

import numpy as np
import pytest

from training.lessons.car_neuron import BOUGHT, CARS, RECIPE, START, Decision, Neuron, descent
from training.recipe.lesson import LessonContext


def test_one_car_by_hand_and_all_cars_after_learning(tmp_path, console):
    found = RECIPE.study(LessonContext(directory=tmp_path, console=console))
    assert found.missed == ()
    values = {figure.name: figure.value for figure in found.figures}
    assert values["z of the second car"] == pytest.approx(-1.5 * 2 + 4 * 0.8 + 0.5)
    assert values["p of the second car, in Keras"] == pytest.approx(0.668187772168, abs=1e-12)
    assert values["cars right at the start"] < values["cars right after 2,000 updates"] == 8
    [picture] = found.pictures.values()
    assert picture.read_bytes().startswith(b"\x89PNG\r\n\x1a\n")


def test_the_update_follows_the_slope_of_the_cross_entropy():
    def loss(weights):
        p = Neuron(weights=weights[:2], bias=weights[2]).answers(CARS)
        return -np.log(np.where(BOUGHT == 1, p, 1 - p)).mean()

    start, step = np.array([*START.weights, START.bias]), START.updated(1.0)
    slope = [(loss(start + nudge) - loss(start - nudge)) / 2e-6 for nudge in np.eye(3) * 1e-6]
    np.testing.assert_allclose(start - np.array([*step.weights, step.bias]), slope, rtol=0, atol=1e-8)


def test_too_few_updates_are_a_reported_miss(tmp_path, console):
    missed = Decision(steps=1)(LessonContext(directory=tmp_path, console=console)).missed
    assert [figure.name for figure in missed] == ["cars right after 1 updates"]
    assert [step.bias for step in islice(descent(0.5), 2)] == [0.5, START.updated(0.5).bias]
