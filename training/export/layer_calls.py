"""What the layers of a Keras model get and give while it answers, by their order."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from inspect import signature
from typing import Any

import numpy as np
import numpy.typing as npt

HEEDING = frozenset(
    {
        "AdditiveAttention",
        "Attention",
        "Bidirectional",
        "GRU",
        "GlobalAveragePooling1D",
        "GroupQueryAttention",
        "LSTM",
        "MultiHeadAttention",
        "RNN",
        "SimpleRNN",
    }
)
"""Kinds that read masks; their inner layers are not looked at."""

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Called:
    """One call of a layer: whether a mask came with it, its outputs, or the message of its exception."""

    layer: Any
    masked: bool
    outputs: list[Array]
    failure: str = ""


def named(layer: Any) -> str:
    """A layer in a message: ``layer 'top' (GlobalMaxPooling1D)``."""
    return f"layer {layer.name!r} ({type(layer).__name__})"


def arrays(outputs: Any) -> list[Array]:
    """The tensors of any structure, flat, that have values."""
    import tensorflow as tf

    return [np.asarray(tensor) for tensor in tf.nest.flatten(outputs) if hasattr(tensor, "numpy")]


@contextmanager
def recorded(model: Any) -> Iterator[list[Called]]:
    """Calls of the model's layers in the body, in the order in which they end; those in HEEDING count as one layer."""
    calls: list[Called] = []
    layers = list(model._flatten_layers(recursive=True, include_self=False))
    whole = [layer for layer in layers if type(layer).__name__ in HEEDING]
    inner = {id(part) for layer in whole for part in layer._flatten_layers(recursive=True, include_self=False)}
    watched = [layer for layer in layers if id(layer) not in inner]

    def watch(layer: Any) -> Any:
        import tensorflow as tf

        original = layer.call
        parameters = signature(original)

        def call(*arguments: Any, **options: Any) -> Any:
            try:
                outputs = original(*arguments, **options)
            except Exception as error:
                calls.append(Called(layer, False, [], str(error) or type(error).__name__))
                raise
            given = parameters.bind(*arguments, **options).arguments
            inputs = tf.nest.flatten(arguments)
            masks = [given.get("mask"), *(getattr(tensor, "_keras_mask", None) for tensor in inputs)]
            calls.append(Called(layer, any(mask is not None for mask in tf.nest.flatten(masks)), arrays(outputs)))
            return outputs

        return tf.autograph.experimental.do_not_convert(call)

    try:
        for layer in watched:
            object.__setattr__(layer, "call", watch(layer))
        yield calls
    finally:
        for layer in watched:
            layer.__dict__.pop("call", None)
