"""Finds the layer that makes padding count: rows of token ids alone, and padded in one batch, must answer the same.

Texts of different lengths share a batch, padded with id 0 after each text. This runs before a network is trained, with
random weights in the meantime: initial ones are often 0 and would hide a difference. It runs again with the opposite
random weights: a maximum over all steps differs only where the embedding of padding is larger than the others. Rows are
padded to the longest of them, and to the longest text: some layers read steps far away, or need many.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np

from app.contract.golden import magnitude
from training.errors import TrainingError
from training.export.layer_calls import HEEDING, Array, Called, arrays, named, recorded
from training.export.parity import TOLERANCE
from training.export.recurrent_cells import is_layer, library_of

LENGTHS = (1, 2, 5, 9)
"""Tokens of the rows."""
ROWS, MOST_IDS = 8, 8192
"""Rows of each length; fewer, and at least one, if all of them padded would have more ids."""
_LONGEST_REASON = 200
_NOISE = re.compile(r"\{\{.*?\}\}|\x1b\[\d+m|\[Op:\w+\].*", re.DOTALL)  # in messages of TensorFlow

_MULTIPLY = "multiply its input by the mask, x * tf.cast(ids != 0, x.dtype)[..., tf.newaxis]"


class _Fails(TrainingError):
    """The network does not run for a row; the message names the layer."""


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
    distinct = sorted({min(length, longest) for length in LENGTHS})
    lengths = np.repeat(distinct, max(1, min(ROWS, MOST_IDS // (len(distinct) * longest))))
    ids = rng.integers(1, max(2, id_count), (len(lengths), longest))
    ids[np.arange(longest) >= lengths[:, np.newaxis]] = 0
    for weights in [None] if trained else _random_weights(model.get_weights(), rng):
        with _weights(model, weights):
            try:
                if reason := _moved(model, ids, lengths) or _counted_rows(model, ids[:, : lengths[-1]]):
                    return reason
            except _Fails as error:
                return f"which must be the same with and without it: {error}"
    return ""


def _moved(model: Any, ids: Array, lengths: Array) -> str:
    """By how much padding moves an answer, and why; empty if it does not. ``lengths`` of the rows rise.

    Rows of one length run together, without padding: a call costs about the same for one row and for a few.
    """
    groups = {int(length): np.flatnonzero(lengths == length) for length in np.unique(lengths)}
    alone = {length: _answers(model, ids[rows, :length]) for length, rows in groups.items()}
    for width in sorted({int(lengths[-1]), ids.shape[1]}):
        padded = _answers(model, ids[:, :width])
        for length, rows in groups.items():
            for place, row in enumerate(rows.tolist()):
                unpadded = [values[place : place + 1] for values in alone[length]]
                if moved := _distance(unpadded, [values[row : row + 1] for values in padded]):
                    return f"by {moved:.2g}: {_blame(model, ids[:, :width], row, length)}"
    return ""


def _counted_rows(model: Any, ids: Array) -> str:
    """Which layer takes the number of rows for that of the steps, as Keras 3.15 does in a traced graph."""
    import tensorflow as tf

    layers = model._flatten_layers(recursive=True, include_self=False)
    odd = [layer for layer in layers if library_of(layer) == "keras" and is_layer(layer, "TimeDistributed")]
    if not odd:
        return ""
    (tensor,) = tf.nest.flatten(model.inputs)
    traced = tf.function(
        lambda ids: model(ids, training=False),
        input_signature=[tf.TensorSpec((None, None), tensor.dtype)],
        autograph=False,
    )
    try:
        found = arrays(traced(tf.constant(ids, tensor.dtype)))
    except (tf.errors.OpError, ValueError):
        found = []
    if found and not _distance(_answers(model, ids), found):
        return ""
    return (
        f"and so does the number of rows: {named(odd[0])} takes it for the number of steps where "
        "that varies: call its layer with the whole sequence, which Dense and LayerNormalization read step by step"
    )


def _blame(model: Any, ids: Array, row: int, length: int) -> str:
    """The innermost layer whose outputs differ first, in words."""
    with recorded(model) as alone:
        _answers(model, ids[row : row + 1, :length])
    with recorded(model) as padded:
        _answers(model, ids[row : row + 1])
    if [called.layer for called in alone] == [called.layer for called in padded]:
        for one, other in zip(alone, padded, strict=True):
            if _distance(one.outputs, other.outputs):
                return _cure(one, masked=any(called.masked for called in alone))
    return "use layers that heed masks, after an Embedding with mask_zero=True"


def _cure(called: Called, *, masked: bool) -> str:
    kind = type(called.layer).__name__
    reads = f"{named(called.layer)} reads the padded steps"
    if kind == "GlobalMaxPooling1D":
        return f"{reads}; it ignores masks: use GlobalAveragePooling1D, or subtract 1e9 from its input where ids are 0"
    if kind not in HEEDING:
        return f"{reads}; it ignores masks: {_MULTIPLY}"
    if called.masked:
        return f"{reads} although it gets the mask: change its settings (go_backwards, zero_output_for_mask)"
    between = " and, between both, only layers that pass masks on (layers.Add in place of +)" if masked else ""
    return f"{reads} because no mask reaches it: set mask_zero=True in the Embedding{between}"


def _answers(model: Any, ids: Array) -> list[Array]:
    """The outputs, flat, in inference mode."""
    import tensorflow as tf

    (tensor,) = tf.nest.flatten(model.inputs)
    try:
        with tf.device("/CPU:0"):
            return arrays(model(tf.constant(ids, tensor.dtype), training=False))
    except Exception as error:  # any exception of a library
        with recorded(model) as calls, suppress(Exception):
            model(tf.constant(ids, tensor.dtype), training=False)
        failed = next((called for called in calls if called.failure), None)
        where, reason = (named(failed.layer), failed.failure) if failed else ("the network", str(error))
        reason = " ".join(_NOISE.sub("", reason).split())[:_LONGEST_REASON]
        hint = "; use padding='same'" if failed and getattr(failed.layer, "padding", "") == "valid" else ""
        size = f"{ids.shape[1]} token{'s' if ids.shape[1] > 1 else ''}"
        raise _Fails(f"{where} fails for a text of {size}: {reason}{hint}") from error


def _distance(alone: list[Array], padded: list[Array]) -> float:
    """Largest difference where both have elements, for example in the steps before the padding; 0 within 1e-5."""
    worst = 0.0
    for one, other in zip(alone, padded, strict=True):
        if one.ndim != other.ndim or any(small > large for small, large in zip(one.shape, other.shape, strict=True)):
            return float("inf")
        other = other[tuple(slice(size) for size in one.shape)]
        if one.size and one.dtype.kind == "f":
            with np.errstate(invalid="ignore"):
                apart = np.abs(one.astype(np.float64) - other)
            found = float(np.where((one == other) | (np.isnan(one) & np.isnan(other)), 0.0, apart).max())
            if not found <= TOLERANCE * magnitude({"": one}):
                worst = float("inf") if np.isnan(found) else max(worst, found)
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
