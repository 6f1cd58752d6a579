"""Finds the layer that makes padding count: rows of token ids alone, and padded in one batch, must answer the same.

Texts of different lengths share a batch, padded with id 0 after each text. This runs before a network is trained, with
random weights in the meantime: initial ones are often 0 and would hide a difference. It runs again with the opposite
random weights: a maximum over all steps differs only where the embedding of padding is larger than the others.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from inspect import signature
from typing import Any

import numpy as np
import numpy.typing as npt

from app.contract.golden import magnitude
from training.export.parity import TOLERANCE

LENGTHS = (1, 2, 5, 9)
"""Tokens of the rows; the last is what all are padded to."""

_HEEDING = frozenset(
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
_MULTIPLY = "multiply its input by the mask, x * tf.cast(ids != 0, x.dtype)[..., tf.newaxis]"

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Called:
    """One call of a layer: whether a mask came with it, and its outputs."""

    layer: Any
    masked: bool
    outputs: list[Array]


def padding_counts(model: Any, *, id_count: int, longest: int, trained: bool) -> str:
    """Why padding changes the answers of a network of token ids.

    Args:
        model: of tf_keras or Keras 3, with one input of token ids, (batch, length).
        id_count: ids are 1 to ``id_count - 1``; 0 is padding.
        longest: most tokens of a text.
        trained: use the weights as they are.

    Returns:
        A clause that names the layer, and how to mask it; empty if padding changes no answer by more than 1e-5 (of the
        largest answer, where that is above 1).
    """
    rng = np.random.default_rng(0)
    lengths = sorted({min(length, longest) for length in LENGTHS})
    ids = rng.integers(1, max(2, id_count), (len(lengths), lengths[-1]))
    ids[np.arange(lengths[-1]) >= np.array(lengths)[:, np.newaxis]] = 0
    for weights in [None] if trained else _random_weights(model.get_weights(), rng):
        with _weights(model, weights):
            padded = _answers(model, ids)
            for row, length in enumerate(lengths):
                alone = _answers(model, ids[row : row + 1, :length])
                moved = _distance(alone, [values[row : row + 1] for values in padded])
                if moved:
                    return f"by {moved:.2g}: {_blame(model, ids, row, length)}"
    return ""


def _blame(model: Any, ids: Array, row: int, length: int) -> str:
    """The innermost layer whose outputs differ first, in words."""
    with _recorded(model) as alone:
        _answers(model, ids[row : row + 1, :length])
    with _recorded(model) as padded:
        _answers(model, ids[row : row + 1])
    if [called.layer for called in alone] == [called.layer for called in padded]:
        for one, other in zip(alone, padded, strict=True):
            if _distance(one.outputs, other.outputs):
                return _cure(one, masked=any(called.masked for called in alone))
    return "use layers that heed masks, after an Embedding with mask_zero=True"


def _cure(called: Called, *, masked: bool) -> str:
    kind = type(called.layer).__name__
    named = f"layer {called.layer.name!r} ({kind}) reads the padded steps"
    if kind == "GlobalMaxPooling1D":
        return f"{named}; it ignores masks: use GlobalAveragePooling1D, or subtract 1e9 from its input where ids are 0"
    if kind not in _HEEDING:
        return f"{named}; it ignores masks: {_MULTIPLY}"
    if called.masked:
        return f"{named} although it gets the mask: change its settings (go_backwards, zero_output_for_mask)"
    between = " and, between both, only layers that pass masks on (layers.Add in place of +)" if masked else ""
    return f"{named} because no mask reaches it: set mask_zero=True in the Embedding{between}"


def _answers(model: Any, ids: Array) -> list[Array]:
    """The outputs, flat, in inference mode."""
    import tensorflow as tf

    (tensor,) = tf.nest.flatten(model.inputs)
    with tf.device("/CPU:0"):
        return _arrays(model(tf.constant(ids, tensor.dtype), training=False))


def _arrays(outputs: Any) -> list[Array]:
    import tensorflow as tf

    return [np.asarray(tensor) for tensor in tf.nest.flatten(outputs) if hasattr(tensor, "numpy")]


def _distance(alone: list[Array], padded: list[Array]) -> float:
    """Largest difference where both have elements, for example in the steps before the padding; 0 within 1e-5."""
    worst = 0.0
    for one, other in zip(alone, padded, strict=True):
        if one.ndim != other.ndim or any(small > large for small, large in zip(one.shape, other.shape, strict=True)):
            return float("inf")
        other = other[tuple(slice(size) for size in one.shape)]
        if one.size and one.dtype.kind == "f":
            found = float(np.abs(one.astype(np.float64) - other).max())
            worst = max(worst, found if not found <= TOLERANCE * magnitude({"": one}) else 0.0)
        elif not np.array_equal(one, other):
            worst = float("inf")
    return worst


def _random_weights(weights: list[Array], rng: np.random.Generator) -> list[list[Array]]:
    """Each float plus, and minus, a random number up to 0.3; of all ones (scales, variances) up to 0.5."""
    spans = [0.5 if weight.size and (weight == 1).all() else 0.3 for weight in weights]
    steps = [rng.uniform(-span, span, weight.shape) for span, weight in zip(spans, weights, strict=True)]
    return [
        [
            (weight + sign * step).astype(weight.dtype) if weight.dtype.kind == "f" else weight
            for weight, step in zip(weights, steps, strict=True)
        ]
        for sign in (1, -1)
    ]


@contextmanager
def _weights(model: Any, weights: list[Array] | None) -> Iterator[None]:
    """Other weights during the body; None: its own."""
    before = model.get_weights() if weights else []
    try:
        if weights:
            model.set_weights(weights)
        yield
    finally:
        if weights:
            model.set_weights(before)


@contextmanager
def _recorded(model: Any) -> Iterator[list[Called]]:
    """Calls of the model's layers in the body, in the order in which they end; those in _HEEDING count as one layer."""
    calls: list[Called] = []
    layers = list(model._flatten_layers(recursive=True, include_self=False))
    whole = [layer for layer in layers if type(layer).__name__ in _HEEDING]
    inner = {id(part) for layer in whole for part in layer._flatten_layers(recursive=True, include_self=False)}
    watched = [layer for layer in layers if id(layer) not in inner]

    def watch(layer: Any) -> Any:
        import tensorflow as tf

        original = layer.call
        parameters = signature(original)

        def call(*arguments: Any, **options: Any) -> Any:
            outputs = original(*arguments, **options)
            given = parameters.bind(*arguments, **options).arguments
            inputs = tf.nest.flatten(arguments)
            masks = [given.get("mask"), *(getattr(tensor, "_keras_mask", None) for tensor in inputs)]
            calls.append(Called(layer, any(mask is not None for mask in tf.nest.flatten(masks)), _arrays(outputs)))
            return outputs

        return tf.autograph.experimental.do_not_convert(call)

    try:
        for layer in watched:
            object.__setattr__(layer, "call", watch(layer))
        yield calls
    finally:
        for layer in watched:
            layer.__dict__.pop("call", None)
