"""Losses and metrics of each name, against figures worked out by hand."""

from math import log, sqrt

import numpy as np
import pytest
import tensorflow as tf

from training.network.losses import LOSSES, METRICS, build_loss, build_metrics
from training.recipe.fitting import Loss

FLOAT32 = 1e-6  # relative; a few roundings of float32


def computed(settings, wanted, given):
    return float(build_loss(settings)(tf.constant(wanted), tf.constant(given, tf.float32)))


@pytest.mark.parametrize(
    ("name", "wanted", "given", "by_hand"),
    [
        ("mean-squared-error", [[0.0, 1.0], [2.0, 0.0]], [[0.5, 0.5], [0.0, 0.0]], (0.25 + 0.25 + 4 + 0) / 4),
        ("mean-absolute-error", [[0.0, 1.0], [2.0, 0.0]], [[0.5, 0.5], [0.0, 0.0]], (0.5 + 0.5 + 2 + 0) / 4),
        ("root-mean-squared-error", [[0.0, 1.0], [2.0, 0.0]], [[0.5, 0.5], [0.0, 0.0]], sqrt(4.5 / 4)),
        (
            "categorical-crossentropy",
            [[0.0, 1.0, 0.0], [1.0, 0.0, 0.0]],
            [[0.25, 0.5, 0.25], [0.8, 0.1, 0.1]],
            (-log(0.5) - log(0.8)) / 2,
        ),
        ("sparse-categorical-crossentropy", [1, 0], [[0.25, 0.5, 0.25], [0.8, 0.1, 0.1]], (-log(0.5) - log(0.8)) / 2),
        ("binary-crossentropy", [[1.0, 0.0]], [[0.8, 0.4]], (-log(0.8) - log(0.6)) / 2),
    ],
)
def test_a_loss_equals_its_formula(name, wanted, given, by_hand):
    assert computed(Loss(name=name), wanted, given) == pytest.approx(by_hand, rel=FLOAT32)


def test_every_loss_and_metric_that_a_recipe_may_name_can_be_built():
    from typing import get_args, get_type_hints

    from training.recipe.fitting import Metric

    assert set(get_args(get_type_hints(Loss)["name"])) == set(LOSSES)
    assert set(get_args(Metric)) == set(METRICS)


def test_label_smoothing_spreads_a_share_of_the_probability_over_all_classes():
    categorical = Loss(name="categorical-crossentropy", label_smoothing=0.1)
    by_hand = -0.95 * log(0.75) - 0.05 * log(0.25)
    assert computed(categorical, [[0.0, 1.0]], [[0.25, 0.75]]) == pytest.approx(by_hand, rel=FLOAT32)
    binary = Loss(name="binary-crossentropy", label_smoothing=0.1)
    by_hand = -0.95 * log(0.75) - 0.05 * log(0.25)
    assert computed(binary, [[1.0]], [[0.75]]) == pytest.approx(by_hand, rel=FLOAT32)


def test_the_root_mean_squared_error_has_a_gradient_where_the_error_is_zero():
    given = tf.Variable([[1.0]])
    with tf.GradientTape() as tape:
        loss = build_loss(Loss(name="root-mean-squared-error"))(tf.constant([[1.0]]), given)
    assert float(loss) == pytest.approx(1e-6, rel=1e-3)
    assert tape.gradient(loss, given).numpy().tolist() == [[0.0]]


@pytest.mark.parametrize(
    ("name", "by_hand"),
    [
        ("mean-squared-error", (1 + 0 + 9) / 3),
        ("mean-absolute-error", (1 + 0 + 3) / 3),
        ("root-mean-squared-error", sqrt((1 + 0 + 9) / 3)),  # not the mean over the batches of each one's root
    ],
)
def test_a_metric_of_numbers_is_that_of_all_rows_for_any_batches(name, by_hand):
    [metric] = build_metrics((name,))
    metric.update_state([[1.0], [5.0]], [[2.0], [5.0]])
    metric.update_state([[0.0]], [[3.0]])
    assert float(metric.result()) == pytest.approx(by_hand, rel=FLOAT32)


def test_the_cross_entropies_are_the_mean_of_all_rows():
    categorical, binary = build_metrics(("cross-entropy", "binary-cross-entropy"))
    categorical.update_state([[0.0, 1.0], [1.0, 0.0]], [[0.5, 0.5], [0.8, 0.2]])
    categorical.update_state([[0.0, 1.0]], [[0.9, 0.1]])
    assert float(categorical.result()) == pytest.approx((-log(0.5) - log(0.8) - log(0.1)) / 3, rel=FLOAT32)
    binary.update_state([[1.0, 0.0]], [[0.8, 0.4]])
    binary.update_state([[0.0, 0.0]], [[0.5, 0.25]])
    by_hand = (-log(0.8) - log(0.6) - log(0.5) - log(0.75)) / 4
    assert float(binary.result()) == pytest.approx(by_hand, rel=FLOAT32)


def test_accuracy_is_the_share_of_right_answers():
    import tf_keras

    model = tf_keras.Sequential([tf_keras.layers.Input((2,)), tf_keras.layers.Softmax()])
    model.compile(loss=build_loss(Loss()), metrics=build_metrics(("accuracy",)))
    rows = np.float32([[2, 0], [0, 2], [2, 0], [0, 2]])
    _, accuracy = model.evaluate(rows, np.float32([[1, 0], [0, 1], [0, 1], [0, 1]]), verbose=0)
    assert accuracy == 0.75
