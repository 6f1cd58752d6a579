"""Splits a request into works that each fit one batch, and joins their answers."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from app.batching.rules import BatchRules
from app.batching.work import Answer
from app.contract.tokenizer import PADDING_ID
from app.runtime.backend import join_rows, row_count, take_rows
from app.types import Array


@dataclass(slots=True)
class Part:
    """Rows of a request that run in one batch.

    Attributes:
        inputs: input name -> (rows, *shape).
        rows: at most ``max_batch_size``.
        length: steps of the longest row of a sequence; 0 if all instances have the same shape.
    """

    inputs: dict[str, Array]
    rows: int
    length: int


@dataclass(slots=True)
class Split:
    """The parts of a request.

    Attributes:
        parts: in the order in which they run.
        order: index in the request of each row of the joined parts; None if the order is the same.
    """

    parts: list[Part]
    order: npt.NDArray[np.intp] | None = None

    def join(self, answers: Sequence[Answer]) -> Answer:
        """The answer to the request from the answers of its parts, in the order of the request's rows."""
        joined = answers[0] if len(answers) == 1 else join_rows(list(answers))
        if self.order is None:
            return joined
        back = np.argsort(self.order)
        return {name: values[back] for name, values in joined.items()}


def split(tensors: dict[str, Array], *, sequence: str | None, rules: BatchRules) -> Split:
    """Split a request into parts of at most ``max_batch_size`` rows: the limit applies to a batch, not to a request.

    Texts are first sorted by length and split where the length bucket changes, so that the short texts of a request do
    not pay for the padding of a long one.

    Args:
        tensors: validated; input name -> (rows, *shape).
        sequence: the input whose rows vary in length, padded after their end; None without one.
        rules: of the model version.
    """
    rows, size = row_count(tensors), rules.max_batch_size
    if sequence is None:
        if rows <= size:
            return Split([Part(tensors, rows, 0)])
        starts = range(0, rows, size)
        return Split([Part(take_rows(tensors, start, start + size), min(size, rows - start), 0) for start in starts])
    ids = tensors[sequence]
    lengths = (ids != PADDING_ID).sum(axis=1)
    longest = int(lengths.max())
    if rows == 1 or (rows <= size and rules.bucket(int(lengths.min())) == rules.bucket(longest)):
        return Split([Part({sequence: _cut(ids, longest)}, rows, longest)])
    order = np.argsort(lengths, kind="stable")
    parts: list[Part] = []
    start = 0
    while start < rows:
        bucket = rules.bucket(int(lengths[order[start]]))
        end = start + 1
        while end < rows and end - start < size and rules.bucket(int(lengths[order[end]])) == bucket:
            end += 1
        chosen = order[start:end]
        length = int(lengths[chosen[-1]])
        parts.append(Part({sequence: _cut(ids[chosen], length)}, end - start, length))
        start = end
    return Split(parts, order)


def _cut(ids: Array, length: int) -> Array:
    return ids if ids.shape[1] == length else np.ascontiguousarray(ids[:, :length])
