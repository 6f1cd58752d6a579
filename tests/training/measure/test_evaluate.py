import numpy as np
import pytest

from tests.training.tiny import text_recipe
from training.fit.stages import build_model
from training.measure.evaluate import Evaluation, evaluate, predict, prediction_statistics

NAMES = ("cat", "dog", "owl")
LABELS = np.array([0, 0, 1, 1, 2], np.int32)
PROBABILITIES = np.array(
    [[0.8, 0.1, 0.1], [0.3, 0.6, 0.1], [0.1, 0.8, 0.1], [0.2, 0.7, 0.1], [0.5, 0.3, 0.2]], np.float32
)


def test_accuracy_confusion_precision_and_recall_by_hand():
    evaluation = evaluate(PROBABILITIES, LABELS, names=NAMES)
    assert evaluation.rows == 5
    assert evaluation.accuracy == pytest.approx(3 / 5)
    assert evaluation.confusion == ((1, 1, 0), (0, 2, 0), (1, 0, 0))
    assert evaluation.precision == pytest.approx((1 / 2, 2 / 3, 0.0))  # owl is never predicted
    assert evaluation.recall == pytest.approx((1 / 2, 1.0, 0.0))


def test_log_loss_by_hand_and_finite_for_a_class_that_was_ruled_out():
    evaluation = evaluate(PROBABILITIES, LABELS, names=NAMES)
    assert evaluation.log_loss == pytest.approx(-np.log([0.8, 0.3, 0.8, 0.7, 0.2]).mean(), rel=1e-6)
    sure = evaluate(np.array([[1.0, 0.0]], np.float32), np.array([1], np.int32), names=("no", "yes"))
    assert np.isfinite(sure.log_loss)


def test_calibration_error_is_the_gap_between_confidence_and_accuracy():
    confident = np.tile(np.array([[0.9, 0.1]], np.float32), (100, 1))
    labels = (np.arange(100) >= 60).astype(np.int32)  # right in 60 of 100
    evaluation = evaluate(confident, labels, names=("no", "yes"))
    assert evaluation.calibration_error == pytest.approx(0.3, abs=0.01)  # corrected by resamples of deviation 0.05
    low, high = evaluation.calibration_interval
    assert low < 0.3 < high
    assert evaluation.bins == ((pytest.approx(0.9), pytest.approx(0.6), 100),)


def test_an_evaluation_survives_json():
    evaluation = evaluate(PROBABILITIES, LABELS, names=NAMES)
    assert Evaluation.from_json(evaluation.as_json()) == evaluation


def test_predictions_are_in_the_order_of_the_examples():
    recipe = text_recipe()
    splits = recipe.data.load()
    feed = recipe.pipeline.bind(splits.train, classes=2)
    model = build_model(recipe, feed, classes=2)
    found = predict(model, feed, splits.validation, batch_size=7)
    for row in (0, 5, 39):
        ids = feed.tokenizer.encode(splits.validation.instances[row])[np.newaxis]
        np.testing.assert_allclose(found[row], model(ids).numpy()[0], atol=1e-6)  # float32, other batch size


def test_prediction_statistics_give_both_class_mixes():
    statistics = prediction_statistics(PROBABILITIES, LABELS, names=NAMES)
    assert statistics["label_shares"] == pytest.approx({"cat": 0.4, "dog": 0.4, "owl": 0.2})
    assert statistics["predicted_shares"] == pytest.approx({"cat": 0.4, "dog": 0.6, "owl": 0.0})
    assert statistics["confidence"]["mean"] == pytest.approx(PROBABILITIES.max(axis=1).mean())
