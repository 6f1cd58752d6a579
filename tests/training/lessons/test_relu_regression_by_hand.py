from itertools import islice

import numpy as np
import pytest

from training.lessons.relu_regression_by_hand import (
    RECIPE,
    SECOND,
    START,
    Regression,
    descent,
    keras_descent,
    keras_measures,
)
from training.recipe.lesson import LessonContext

PNG = b"\x89PNG\r\n\x1a\n"
AFTER_ONE = (0.032074, 0.064148, 0.2022074, 0.081506, 0.37358)
"""w1, w2, b, v, c: the start less 0.01 times -7.358 (0.3, 0.6, 0.03, 0.7, 1)."""
PREDICTION_AFTER_ONE = 0.5207722885444


def study(tmp_path, console, **settings):
    return Regression(**settings)(LessonContext(directory=tmp_path, console=console))


def test_the_whole_study_finds_the_worked_figures(tmp_path, console):
    found = RECIPE.study(LessonContext(directory=tmp_path, console=console))
    assert found.missed == ()
    assert {type(figure.holds) for figure in found.figures} == {bool, type(None)}
    values = {figure.name: figure.value for figure in found.figures}
    wanted = {"z": 0.7, "prediction": 0.321, "error": 3.679, "MAE": 3.679, "MSE": 13.535041, "RMSE": 3.679}
    assert {name: values[name] for name in wanted} == pytest.approx(wanted, abs=1e-12)
    assert {name: values[f"{name} in Keras"] for name in ("MAE", "MSE", "RMSE")} == pytest.approx(
        {"MAE": 3.679, "MSE": 13.535041, "RMSE": 3.679}, abs=1e-12
    )
    assert values["prediction after 1 update, in Keras"] == pytest.approx(PREDICTION_AFTER_ONE, abs=1e-12)
    [picture] = found.pictures.values()
    assert picture.parent == tmp_path
    assert picture.read_bytes().startswith(PNG)


def test_one_update_by_hand_and_in_keras_gives_the_same_five_parameters():
    by_hand = START.updated(0.01)
    np.testing.assert_allclose(by_hand.flat(), AFTER_ONE, rtol=0, atol=1e-12)
    assert by_hand.prediction() == pytest.approx(PREDICTION_AFTER_ONE, abs=1e-12)
    in_keras, prediction = keras_descent(0.01, rows=1)
    np.testing.assert_allclose(in_keras, AFTER_ONE, rtol=0, atol=1e-12)
    assert prediction == pytest.approx(PREDICTION_AFTER_ONE, abs=1e-12)


def test_a_small_rate_converges_to_the_target_and_a_large_one_kills_the_relu():
    calm = list(islice(descent(0.001), 201))
    assert calm[-1].prediction() == pytest.approx(4.0, abs=1e-9)
    rough = list(islice(descent(0.02), 5))
    assert [step.net_input() > 0 for step in rough] == [True, True, True, False, False]
    assert rough[4].weights.tolist() == rough[3].weights.tolist()
    assert rough[4].output_bias > rough[3].output_bias


def test_the_dead_relu_is_reported_for_the_rates_that_kill_it_alone(tmp_path, console):
    notes = study(tmp_path, console).notes
    assert [note for note in notes if "dead" in note] == [
        "At rate 0.02 the ReLU is dead from update 3 on: z = -11.45, its derivative is 0, "
        "and only the output's bias still learns."
    ]
    assert not [note for note in study(tmp_path, console, updates=2).notes if "dead" in note]


def test_a_step_uphill_is_a_reported_miss(tmp_path, console):
    [missed] = study(tmp_path, console, learning_rate=-0.01, drawn_rates=(), updates=1).missed
    assert missed.name == "absolute error after 1 update"
    assert missed.value > 3.679


def test_another_rate_is_as_exact_in_keras_as_by_hand(tmp_path, console):
    assert study(tmp_path, console, learning_rate=0.003, drawn_rates=(0.003,)).missed == ()


def test_no_updates_are_refused():
    with pytest.raises(ValueError, match="updates must be at least 1"):
        Regression(updates=0)


def test_both_rows_have_a_mean_of_absolute_errors_below_the_root_of_the_mean_of_squares():
    """Errors 3.679 and 4.67."""
    measures = keras_measures(rows=2)
    assert measures == pytest.approx({"MAE": 8.349 / 2, "MSE": (3.679**2 + 4.67**2) / 2, "RMSE": 4.20380429}, abs=1e-8)
    assert keras_measures(rows=1)["MAE"] == pytest.approx(3.679, abs=1e-12)


def test_at_the_course_s_rate_the_first_row_overshoots_and_the_second_kills_the_relu_for_good():
    once = START.updated(0.2)
    assert once.flat() == pytest.approx([0.45148, 0.90296, 0.244148, 1.06012, 1.7716], abs=1e-12)
    assert once.prediction() == pytest.approx(25.96, abs=0.01)
    twice = once.updated(0.2, SECOND)
    assert twice.net_input() < 0
    assert twice.net_input(SECOND) < 0
    assert (twice.updated(0.2).weights == twice.weights).all()
    in_keras, _ = keras_descent(0.2, rows=2)
    np.testing.assert_allclose(in_keras, twice.flat(), rtol=1e-12)
