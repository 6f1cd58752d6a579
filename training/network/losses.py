"""Losses and metrics by name."""

from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf
import tf_keras

from training.recipe.fitting import Loss, Metric
from training.recipe.heads import Head

_losses, _metrics = tf_keras.losses, tf_keras.metrics


def root_mean_squared_error(expected: Any, given: Any) -> Any:
    """Square root of the mean squared error of the batch; a scalar.

    Its gradient has no limit at an error of zero, so 1e-12 is added under the root.
    """
    return tf.sqrt(tf.reduce_mean(tf.square(given - tf.cast(expected, given.dtype))) + 1e-12)


LOSSES: dict[str, Callable[[Loss], Any]] = {
    "categorical-crossentropy": lambda loss: _losses.CategoricalCrossentropy(label_smoothing=loss.label_smoothing),
    "sparse-categorical-crossentropy": lambda _: _losses.SparseCategoricalCrossentropy(),
    "binary-crossentropy": lambda loss: _losses.BinaryCrossentropy(label_smoothing=loss.label_smoothing),
    "mean-squared-error": lambda _: _losses.MeanSquaredError(),
    "mean-absolute-error": lambda _: _losses.MeanAbsoluteError(),
    "root-mean-squared-error": lambda _: root_mean_squared_error,
}
METRICS: dict[Metric, Callable[[], Any]] = {
    "accuracy": lambda: "accuracy",
    "mean-squared-error": lambda: _metrics.MeanSquaredError(name="mse"),
    "mean-absolute-error": lambda: _metrics.MeanAbsoluteError(name="mae"),
    "root-mean-squared-error": lambda: _metrics.RootMeanSquaredError(name="rmse"),
    "cross-entropy": lambda: _metrics.CategoricalCrossentropy(name="cross_entropy"),
    "binary-cross-entropy": lambda: _metrics.BinaryCrossentropy(name="binary_cross_entropy"),
    "binary-accuracy": lambda: _metrics.BinaryAccuracy(name="binary_accuracy"),
}


def build_loss(settings: Loss) -> Any:
    """The tf_keras loss of ``settings``; it compares the network's output with the feed's targets."""
    return LOSSES[settings.name](settings)


def build_metrics(names: tuple[Metric, ...]) -> list[Any]:
    """The tf_keras metrics of these names."""
    return [METRICS[name]() for name in names]


def compiled_with(loss: Loss, metrics: tuple[Metric, ...], heads: Sequence[Head]) -> dict[str, Any]:
    """Arguments of ``Model.compile``: loss and metrics, or those of each head, with the weights of their losses.

    Args:
        loss, metrics: of a network with one output.
        heads: of a network with several; empty otherwise.
    """
    if not heads:
        return {"loss": build_loss(loss), "metrics": build_metrics(metrics)}
    return {
        "loss": {head.name: build_loss(head.loss) for head in heads if head.loss},
        "loss_weights": {head.name: head.weight for head in heads},
        "metrics": {head.name: build_metrics(head.metrics) for head in heads},
    }


def loss_of(model: Any, heads: Sequence[Head], targets: Any, answers: Any) -> Any:
    """The loss of a batch without weights of rows, a scalar; with several heads the weighted sum.

    Args:
        model: compiled.
        heads: of it; empty with one output.
        targets: of the batch, by name with several heads.
        answers: of the model, in the order of its outputs.
    """
    if not heads:
        return tf.reduce_mean(model.loss(targets, answers))
    named = dict(zip(model.output_names, answers, strict=True))
    losses = [
        head.weight * tf.reduce_mean(model.loss[head.name](targets[head.name], named[head.name])) for head in heads
    ]
    return tf.add_n(losses)
