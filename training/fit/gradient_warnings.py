"""Warns about dead ReLUs and about gradients that vanish or explode."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras

from training.network.losses import loss_of
from training.recipe.heads import Head

ROWS = 256
"""Rows of the training part that are examined, at least one batch."""
DEAD_SHARE = 0.5
"""A layer with a larger share of dead units causes a warning."""
VANISHING_RATIO = 1e-4
"""Ratio of the gradient of an early layer to that of the last one; ten sigmoid layers give 1e-6."""
EXPLODING_NORM = 1e3
"""Norm of all gradients together, for losses of order one."""


@dataclass(frozen=True, kw_only=True)
class Look:
    """The result of one look at a network.

    Attributes:
        dead: layer -> share of its ReLU units that are 0 for all rows.
        gradients: layer -> root mean square of its kernel's gradient, from the first layer to the last.
        norm: of all gradients together.
    """

    dead: dict[str, float]
    gradients: dict[str, float]
    norm: float


def warnings_of(look: Look) -> dict[str, str]:
    """Kind and layer -> one sentence for each problem."""
    found = {}
    for layer, share in look.dead.items():
        if share > DEAD_SHARE:
            found[f"dead {layer}"] = (
                f"{share:.0%} of the ReLU units of layer {layer!r} are dead: they give 0 for every examined row and "
                "learn nothing; lower optimizer.learning_rate, start with he_normal, or use leaky ReLU"
            )
    if not look.norm < EXPLODING_NORM:  # also true for NaN
        found["exploding"] = (
            f"exploding gradient: its norm is {look.norm:.3g}{_largest(look.gradients)}; lower "
            "optimizer.learning_rate, set optimizer.clip_norm, or start with smaller weights"
        )
        return found  # next to one that explodes, any other looks small
    if 1.0 in look.dead.values():  # no gradient passes a completely dead layer, which is already reported
        return found
    *early, last = look.gradients.items() or [("", 0.0)]
    for layer, size in early:
        if size < VANISHING_RATIO * last[1]:
            found["vanishing"] = (
                f"vanishing gradient: that of layer {layer!r} ({size:.1e}) is {size / last[1]:.0e} of that of layer "
                f"{last[0]!r}; use ReLU instead of sigmoid or tanh, batch normalisation, or fewer layers"
            )
            break
    return found


def _largest(gradients: Mapping[str, float]) -> str:
    """Name the layer with the largest gradient, or the first with NaN or infinity."""
    sizes = {layer: size if math.isfinite(size) else math.inf for layer, size in gradients.items()}
    return f", largest in layer {max(sizes, key=sizes.__getitem__)!r}" if sizes else ""


class WatchTraining(tf_keras.callbacks.Callback):  # type: ignore[misc]
    """Examines the network before training and after epochs 1, 2, 4, 8, ...; reports each problem once.

    It uses inference mode and draws no random numbers, so it does not influence the training.

    Args:
        batches: tf.data.Dataset of training batches, without weights.
        heads: of a network with several outputs.
        said: kind and layer -> sentence of each reported problem, also before an interruption; grows.
        say: callback with each new sentence.
    """

    def __init__(
        self, batches: Any, said: dict[str, str], say: Callable[[str], None], heads: Sequence[Head] = ()
    ) -> None:
        super().__init__()
        self.batches, self.said, self.say, self.heads = batches, said, say, heads
        self._rows: list[tuple[Any, Any]] = []

    def on_train_begin(self, logs: Any = None) -> None:
        """Take the rows to examine, and examine the network."""
        taken = 0
        for inputs, targets in self.batches:
            self._rows.append((inputs, targets))
            taken += len(tf.nest.flatten(targets)[0])
            if taken >= ROWS:
                break
        self._activations = _relu_outputs(self.model)
        self._look()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Examine the network at increasing intervals."""
        if math.log2(epoch + 1).is_integer():
            self._look()

    def _look(self) -> None:
        for kind, sentence in warnings_of(look_at(self.model, self._activations, self._rows, self.heads)).items():
            if kind not in self.said:
                self.said[kind] = sentence
                self.say(sentence)


def look_at(model: Any, activations: dict[str, Any], rows: list[tuple[Any, Any]], heads: Sequence[Head] = ()) -> Look:
    """Activations on all ``rows``, gradients on the first batch of them.

    Args:
        model: compiled.
        activations: layer -> symbolic output of its ReLU.
        rows: batches of (inputs, targets).
        heads: of a network with several outputs.
    """
    alive: dict[str, Any] = {}
    if activations:
        inner = tf_keras.Model(model.inputs, activations)
        for inputs, _ in rows:
            for name, values in inner(inputs, training=False).items():
                some = np.asarray(values).reshape(-1, values.shape[-1]).any(axis=0)
                alive[name] = alive.get(name, False) | some
    inputs, targets = rows[0]
    with tf.GradientTape() as tape:
        loss = loss_of(model, heads, targets, model(inputs, training=False))
        scaled = model.optimizer.get_scaled_loss(loss) if _has_loss_scale(model) else loss
    gradients = tape.gradient(scaled, model.trainable_variables)
    if _has_loss_scale(model):
        gradients = model.optimizer.get_unscaled_gradients(gradients)
    sizes = {}
    for variable, gradient in zip(model.trainable_variables, gradients, strict=True):
        if gradient is not None and "kernel" in variable.name and "recurrent" not in variable.name:
            sizes[variable.name.removesuffix(":0").removesuffix("/kernel")] = float(
                tf.sqrt(tf.reduce_mean(tf.square(gradient)))
            )
    return Look(
        dead={name: 1 - float(units.mean()) for name, units in alive.items()},
        gradients=sizes,
        norm=float(tf.linalg.global_norm([gradient for gradient in gradients if gradient is not None])),
    )


def _has_loss_scale(model: Any) -> bool:
    """Whether its gradients are computed in float16, which has no number for small ones."""
    return isinstance(model.optimizer, tf_keras.mixed_precision.LossScaleOptimizer)


def _relu_outputs(model: Any) -> dict[str, Any]:
    """Layer -> output of each layer that ends in a ReLU; empty for a model that is not a graph of layers."""
    if not getattr(model, "inputs", None):
        return {}
    return {
        layer.name: layer.output
        for layer in model.layers
        if isinstance(layer, tf_keras.layers.ReLU) or getattr(layer, "activation", None) is tf_keras.activations.relu
    }
