import numpy as np
import pytest

from training.lessons.backprop_by_hand import (
    HIDDEN_BIAS,
    HIDDEN_KERNEL,
    INPUTS,
    OUTPUT_BIAS,
    OUTPUT_KERNEL,
    RECIPE,
    TARGETS,
    Backpropagation,
    as_printed,
    descend_by_hand,
    descend_in_keras,
)
from training.recipe.lesson import LessonContext

PNG = b"\x89PNG\r\n\x1a\n"
FIRST_WEIGHTS = (
    0.149780716,
    0.19956143,
    0.24975114,
    0.29950229,
    0.35891648,
    0.408666186,
    0.511301270,
    0.561370121,
)


@pytest.fixture(scope="module")
def keras():
    return descend_in_keras(learning_rate=0.5, steps=10_000)


def test_the_whole_study_finds_the_printed_numbers_and_names_the_mistakes_of_the_course(tmp_path, console):
    found = RECIPE.study(LessonContext(directory=tmp_path, console=console))
    assert found.missed == ()
    values = {figure.name: figure.value for figure in found.figures}
    assert values["error after 1 step"] == pytest.approx(0.291027774, abs=0.5e-9)
    assert values["error after 1 step, updated weights reused"] == pytest.approx(0.291027924, abs=0.5e-9)
    assert {type(figure.holds) for figure in found.figures} == {bool}
    assert "0.291027924" in found.notes[0]
    assert "0.015912 (misprinted as 0.159)" in found.notes[0]
    assert "already been updated" in found.notes[0]
    [picture] = found.pictures.values()
    assert picture.parent == tmp_path
    assert picture.read_bytes().startswith(PNG)


def test_keras_updates_all_weights_together(keras):
    assert keras.errors.shape == (10_001,)
    assert keras.errors[0] == pytest.approx(0.298371109, abs=0.5e-9)
    assert keras.errors[1] == pytest.approx(0.291027774, abs=0.5e-9)
    assert keras.errors[-1] == pytest.approx(3.51019e-05, abs=0.5e-10)
    np.testing.assert_allclose(keras.first_weights, FIRST_WEIGHTS, rtol=0, atol=0.5e-8)
    np.testing.assert_allclose(keras.outputs, (0.0159136, 0.9840643), rtol=0, atol=0.5e-7)


def test_by_hand_it_is_the_same_to_the_last_bits(keras):
    hand = descend_by_hand(learning_rate=0.5, steps=10_000)
    np.testing.assert_allclose(hand.errors, keras.errors, rtol=0, atol=1e-12)
    np.testing.assert_allclose(hand.first_weights, keras.first_weights, rtol=0, atol=1e-12)


def test_a_learning_rate_that_float32_cannot_represent_stays_exact_in_keras():
    hand, keras = (descend(learning_rate=0.3, steps=50) for descend in (descend_by_hand, descend_in_keras))
    np.testing.assert_allclose(keras.errors, hand.errors, rtol=0, atol=1e-14)


def test_the_mistake_changes_the_hidden_weights_of_the_first_step_and_not_the_output_weights():
    right = descend_by_hand(learning_rate=0.5, steps=1)
    slip = descend_by_hand(learning_rate=0.5, steps=1, reuse_updated=True)
    assert (right.first_weights[4:] == slip.first_weights[4:]).all()
    assert (np.abs(right.first_weights[:4] - slip.first_weights[:4]) > 3e-5).all()
    assert slip.errors[1] - right.errors[1] == pytest.approx(1.5e-7, abs=0.5e-8)


def test_the_chain_rule_gives_the_slope_of_the_error():
    def error(weights):
        hidden = 1 / (1 + np.exp(-(INPUTS @ weights[:4].reshape(2, 2).T + HIDDEN_BIAS)))
        output = 1 / (1 + np.exp(-(hidden @ weights[4:].reshape(2, 2).T + OUTPUT_BIAS)))
        return ((TARGETS - output) ** 2).sum() / 2

    start = np.concatenate([HIDDEN_KERNEL.T.ravel(), OUTPUT_KERNEL.T.ravel()])
    assert start.tolist() == [0.15, 0.20, 0.25, 0.30, 0.40, 0.45, 0.50, 0.55]
    nudges = np.eye(8) * 1e-6
    gradient = np.array([(error(start + nudge) - error(start - nudge)) / 2e-6 for nudge in nudges])
    stepped = descend_by_hand(learning_rate=1.0, steps=1).first_weights
    np.testing.assert_allclose(start - stepped, gradient, rtol=0, atol=1e-9)


def test_with_other_settings_the_printed_figures_are_only_recorded(tmp_path, console):
    context = LessonContext(directory=tmp_path, console=console)
    short = {figure.name: figure for figure in Backpropagation(steps=1)(context).figures}
    assert short["error after 1 step"].holds
    assert short["error after 1 steps"].holds is None
    assert short["error after 1 steps"].value == short["error after 1 step"].value
    slow = Backpropagation(steps=5, learning_rate=0.1)(context)
    assert slow.missed == ()
    assert {figure.name for figure in slow.figures if figure.holds} == {
        "error at the start",
        "Keras, all errors",
        "Keras, w1 to w8",
    }


@pytest.mark.parametrize(
    ("value", "holds"), [(0.2985, True), (0.29854, True), (0.29846, True), (0.29856, False), (0.29844, False)]
)
def test_a_printed_figure_is_met_within_half_a_unit_of_its_last_digit(value, holds):
    assert as_printed("error", np.float64(value), "0.2985").holds is holds
    assert as_printed("error", value * 1e-4, "2.985e-5").holds is holds


def test_no_steps_are_refused():
    with pytest.raises(ValueError, match="steps must be at least 1"):
        Backpropagation(steps=0)
