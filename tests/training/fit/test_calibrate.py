import json
from dataclasses import replace

import numpy as np
import pytest

from app.contract.model_spec import ModelSpec
from tests.training.tiny import Given, bright_images, image_recipe, noisy_images, number_recipe
from training.export.model_export import onnx_runner
from training.fit.calibrate import calibrate
from training.fit.stages import build_model
from training.measure.predictions import read_predictions
from training.overrides import apply_overrides
from training.recipe.fitting import Fitting, Loss, Optimizer
from training.runs.record import Plan
from training.runs.run import run, validate

ROWS = 400
RECIPE = image_recipe(
    data=Given(
        train=noisy_images(512, 1),
        validation=noisy_images(ROWS, 2),
        test=noisy_images(200, 3),
        labels=("dark", "bright"),
    ),
    target=0.6,
    loss=Loss(label_smoothing=0.5),  # keeps the network far less sure than it is right
    optimizer=Optimizer(learning_rate=0.01),
    fitting=Fitting(epochs=6, batch_size=16, keep="last"),
)
UNCALIBRATED = apply_overrides(RECIPE, ["calibrate=false"])


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    """The same training with and without, both tested and published."""
    import io

    from rich.console import Console

    found = []
    for recipe in (RECIPE, UNCALIBRATED):
        place = tmp_path_factory.mktemp("run")
        console = Console(file=io.StringIO(), width=200)
        outcome = run(recipe, Plan(repository=place / "models", force=True), directory=place / "run", console=console)
        found.append((outcome, console.file.getvalue()))
    return found


def kept(outcome, part="validation"):
    return read_predictions(outcome.directory / f"predictions-{part}.npz")


def test_metrics_state_the_temperature_and_what_it_changed(outcomes):
    (outcome, _), (plain, _) = outcomes
    found = json.loads((outcome.version / "metrics.json").read_text())["calibration"]
    assert found["adopted"] is True
    assert 0.05 < found["temperature"] < 0.9  # it was not sure enough
    assert found["place"] == "kernel and bias of layer 'probabilities' are divided by it"
    assert found["before"]["log_loss"] == plain.validation.log_loss
    assert found["after"]["log_loss"] == outcome.validation.log_loss < plain.validation.log_loss
    assert found["after"]["calibration_error"] < found["before"]["calibration_error"]
    low, high = found["after"]["calibration_interval"]
    assert 0 <= low <= found["after"]["calibration_error"] <= high
    assert sum(rows for _, _, rows in found["after"]["calibration_bins"]) == found["after"]["rows"] == ROWS


@pytest.mark.parametrize("part", ["validation", "test"])
def test_the_answers_are_those_of_the_uncalibrated_network_to_a_power_in_the_same_order(outcomes, part):
    (outcome, _), (plain, _) = outcomes
    calibrated, before = kept(outcome, part), kept(plain, part)
    temperature = outcome.metrics["calibration"]["temperature"]
    powers = before.answers.astype(np.float64) ** (1 / temperature)
    np.testing.assert_allclose(calibrated.answers, powers / powers.sum(axis=1, keepdims=True), atol=2e-6)  # float32
    assert (np.argsort(calibrated.answers, axis=1) == np.argsort(before.answers, axis=1)).all()
    assert getattr(outcome, part).confusion == getattr(plain, part).confusion
    assert (calibrated.truth == before.truth).all()


def test_the_published_onnx_gives_the_calibrated_answers(outcomes):
    [(outcome, _), _] = outcomes
    served = onnx_runner(outcome.version / "model.onnx", ModelSpec.read(outcome.version))
    answers = served({"pixels": RECIPE.data.load().validation.instances})["probabilities"]
    np.testing.assert_allclose(answers, kept(outcome).answers, atol=1e-6)  # float32


def test_the_console_and_the_card_state_it(outcomes):
    (outcome, printed), (plain, printed_plain) = outcomes
    temperature = outcome.metrics["calibration"]["temperature"]
    assert f"calibrated with temperature {temperature:.3f}: validation log loss " in printed
    card = (outcome.version / "card.md").read_text()
    assert f"| Calibration | temperature {temperature:.3f}, fitted on the validation part; kernel and bias" in card
    assert "| Validation log loss and calibration error before calibration |" in card
    assert "(95 %: " in card
    assert "not calibrated: calibrate=false" in printed_plain
    assert "| Calibration | none: calibrate=false |" in (plain.version / "card.md").read_text()


def test_a_run_measured_again_has_the_same_calibration(outcomes):
    [(outcome, _), _] = outcomes
    assert validate(RECIPE, "real", directory=outcome.directory) == outcome.validation


def test_a_run_of_numbers_says_nothing_about_calibration(tmp_path, console):
    outcome = run(
        number_recipe(fitting=Fitting(epochs=1, batch_size=16, monitor="val_loss")),
        Plan(),
        directory=tmp_path,
        console=console,
    )
    assert "calibrated" not in console.file.getvalue()
    assert outcome.metrics["calibration"]["reason"] == "only classifiers have a temperature"
    assert "alibration" not in (tmp_path / "card.md").read_text()


def test_a_network_of_sigmoids_gets_a_temperature_for_each_probability(tmp_path, console):
    def build(network, signature):
        import tf_keras
        from tf_keras import layers

        pixels = layers.Input(signature.input.shape, dtype="uint8", name=signature.input.name)
        x = layers.Flatten()(layers.Rescaling(1 / 50, offset=-2)(pixels))
        return tf_keras.Model(pixels, layers.Dense(2, activation="sigmoid", name="probabilities")(x))

    recipe = replace(RECIPE, build=build, loss=Loss(name="binary-crossentropy", label_smoothing=0.5))
    outcome = run(recipe, Plan(), directory=tmp_path / "run", console=console)
    plain = run(apply_overrides(recipe, ["calibrate=false"]), Plan(), directory=tmp_path / "plain", console=console)
    found = outcome.metrics["calibration"]
    assert found["adopted"] is True
    odds = kept(plain).answers / (1 - kept(plain).answers.astype(np.float64))
    expected = 1 / (1 + odds ** (-1 / found["temperature"]))
    np.testing.assert_allclose(kept(outcome).answers, expected, atol=2e-6)  # float32


def untrained(recipe, weigh=lambda weights: weights):
    """The calibration of a network with random weights."""
    splits = recipe.data.load()
    feed = recipe.pipeline.bind(splits.train, classes=2)
    model = build_model(recipe, feed, classes=2)
    model.set_weights([weigh(weights) for weights in model.get_weights()])
    found = calibrate(recipe, model, feed, splits)
    assert found.model is model
    assert found.temperature == 1
    assert not found.adopted
    return found.reason


def given(validation):
    return Given(train=bright_images(32, 1), validation=validation, test=bright_images(0, 3), labels=("dark", "bright"))


def test_without_a_validation_part_the_network_stays_as_it_is():
    assert untrained(replace(RECIPE, data=given(bright_images(0, 2)))) == "there is no validation part"


def test_a_validation_part_of_one_class_is_refused():
    drawn = bright_images(40, 2)
    dark = drawn.take(np.flatnonzero(drawn.labels == 0))
    assert untrained(replace(RECIPE, data=given(dark))) == "the validation part has only one class"


def test_answers_that_are_nan_are_refused():
    reason = untrained(RECIPE, lambda weights: np.full_like(weights, np.nan))
    assert reason == f"the answers to {ROWS} of {ROWS} validation rows contain NaN or infinity"


def test_a_network_that_ends_in_another_function_is_refused():
    def build(network, signature):
        import tf_keras
        from tf_keras import layers

        pixels = layers.Input(signature.input.shape, dtype="uint8", name=signature.input.name)
        x = layers.Flatten()(layers.Rescaling(1 / 255)(pixels))
        return tf_keras.Model(pixels, layers.Dense(2, activation="tanh", name="probabilities")(x))

    reason = untrained(replace(RECIPE, build=build))
    assert (
        reason == "its answers end in layer 'probabilities' (Dense), neither softmax nor sigmoid, and do not sum to 1"
    )
