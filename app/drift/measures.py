"""What is measured of the rows of a version: one distribution each, with the one that its training data had."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from app.contract.tokenizer import PADDING_ID, UNKNOWN_ID
from app.drift.bins import Bins, Floats
from app.types import Array

Kind = Literal["input", "brightness", "length", "unknown_words", "prediction", "confidence"]
Reduce = Callable[[Array], Array]
"""Rows of a tensor, (rows, *shape), to the values of each that are counted: (rows, elements)."""


@dataclass(frozen=True, kw_only=True)
class Measure:
    """One distribution of the rows of a version.

    Attributes:
        kind: what it is a distribution of.
        name: the tensor of the contract.
        is_output: whether that is an output.
        expected: float64 (bins,), the shares among the training rows.
        expected_rows: number of these.
        bins: of the distribution.
        reduce: from the tensor to what is counted.
    """

    kind: Kind
    name: str
    is_output: bool = False
    expected: Floats
    expected_rows: int
    bins: Bins
    reduce: Reduce

    def counted(self, rows: Array) -> Floats:
        """Count rows of the tensor, (rows, *shape): float64 (bins,), each row once."""
        return self.bins.counted(self.reduce(rows))


def elements(rows: Array) -> Array:
    """All elements of each row."""
    return rows.reshape(len(rows), -1)


def means(rows: Array) -> Array:
    """The mean of each row."""
    return np.asarray(elements(rows).mean(axis=1, keepdims=True))


def lengths(rows: Array) -> Array:
    """The tokens of each row, without padding."""
    return np.asarray(np.count_nonzero(rows != PADDING_ID, axis=1))[:, None]


def unknown_shares(rows: Array) -> Array:
    """The share of the tokens of each row that are not in the vocabulary."""
    return np.asarray(np.count_nonzero(rows == UNKNOWN_ID, axis=1))[:, None] / np.maximum(lengths(rows), 1)


def largest(rows: Array) -> Array:
    """The largest score of each row."""
    return np.asarray(elements(rows).max(axis=1, keepdims=True))


def best(rows: Array) -> Array:
    """The place of the largest score of each row."""
    return np.asarray(elements(rows).argmax(axis=1))[:, None]


def texts(rows: Array) -> Array:
    """Strings as ``str``; bytes that are not UTF-8 become a text that no training data had."""
    flat = [each.decode(errors="replace") if isinstance(each, bytes) else each for each in rows.ravel()]
    return np.array(flat, object).reshape(len(rows), -1)
