"""Divides the logits of a trained classifier by a temperature, inside its graph, so that every format of it agrees."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from training.measure.temperature import Activation

PREFIX = "calibration_"
"""Of the names of layers that are added; they are the same in every run, so that exports are equal."""

_ACTIVATIONS: tuple[Activation, ...] = ("softmax", "sigmoid")


@dataclass(frozen=True, kw_only=True)
class Head:
    """The end of a classifier, from its logits on.

    Attributes:
        logits: tf_keras.Model with the inputs of the classifier; gives float (batch, classes).
        activation: what makes probabilities of them.
        place: where the temperature goes, in words.
        model: the classifier itself, unchanged.
        dense: the layer whose weights can be divided; None if there is none.
    """

    logits: Any
    activation: Activation
    place: str
    model: Any
    dense: Any

    def divided(self, temperature: float) -> Any:
        """A model that shares all layers with the classifier but the last, and divides its logits.

        A dense layer divides its kernel and bias, which costs nothing in serving. Elsewhere a layer does it.
        """
        import tf_keras
        from tf_keras import layers

        name = self.model.output_names[0]
        if self.dense is None:
            scaled = layers.Rescaling(1 / temperature, name=f"{PREFIX}temperature")(self.logits.output)
            answer = layers.Activation(self.activation, name=f"{PREFIX}{self.activation}")(scaled)
            return tf_keras.Model(self.model.inputs, answer, name=self.model.name)
        dense = type(self.dense).from_config(self.dense.get_config())
        answer = dense(self.dense.input)
        dense.set_weights([weights / np.float32(temperature) for weights in self.dense.get_weights()])
        last = self.model.get_layer(name)
        if last is not self.dense:
            answer = type(last).from_config(last.get_config())(answer)
        return tf_keras.Model(self.model.inputs, answer, name=self.model.name)


def head_of(model: Any) -> Head | None:
    """Where the logits of a classifier are.

    - The last layer is dense with softmax or sigmoid, or such an activation after a dense layer: there.
    - It is such an activation after anything else: before it.
    - Anything else, for example the mean of two networks: the logarithms of the probabilities are logits of softmax.
      Whether they are probabilities, rows that sum to 1, only its answers show.

    Returns:
        None if the model has several outputs, or one that is not (batch, classes).
    """
    import tensorflow as tf
    import tf_keras
    from tf_keras import layers

    if len(model.outputs) != 1 or len(model.output_shape) != 2:
        return None
    last = model.get_layer(model.output_names[0])
    activation = _activation(last) if len(last.inbound_nodes) == 1 else None
    if activation is None:
        smallest = np.finfo(np.float32).tiny
        logarithm = layers.Lambda(lambda answers: tf.math.log(tf.maximum(answers, smallest)), name=f"{PREFIX}logarithm")
        logits = tf_keras.Model(model.inputs, logarithm(model.output))
        place = "the logarithms of the probabilities are divided by it"
        return Head(logits=logits, activation="softmax", place=place, model=model, dense=None)
    dense = last if isinstance(last, layers.Dense) else _dense_before(last)
    if dense is None:
        logits = tf_keras.Model(model.inputs, last.input)
        place = f"a layer before {last.name!r} divides by it"
        return Head(logits=logits, activation=activation, place=place, model=model, dense=None)
    linear = layers.Dense.from_config({**dense.get_config(), "name": f"{PREFIX}logits", "activation": "linear"})
    logits = tf_keras.Model(model.inputs, linear(dense.input))
    linear.set_weights(dense.get_weights())
    place = f"kernel and bias of layer {dense.name!r} are divided by it"
    return Head(logits=logits, activation=activation, place=place, model=model, dense=dense)


def _activation(layer: Any) -> Activation | None:
    """The activation that a layer ends with, if it is one with a temperature."""
    from tf_keras import activations, layers

    if isinstance(layer, layers.Softmax):
        return "softmax" if layer.axis in (-1, 1) else None
    if not isinstance(layer, layers.Dense | layers.Activation):
        return None
    return next((name for name in _ACTIVATIONS if layer.activation is activations.get(name)), None)


def _dense_before(layer: Any) -> Any:
    """The layer that gives a layer's input, if it is dense, without an activation of its own."""
    from tf_keras import activations, layers

    before = layer.input.node.layer
    linear = isinstance(before, layers.Dense) and before.activation is activations.linear
    return before if linear and len(before.inbound_nodes) == 1 else None
