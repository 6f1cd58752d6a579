"""Bins of a distribution, and how the rows of a tensor are counted in them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from app.types import Array

MOST_ELEMENTS = 4096
"""Most elements of a row that are counted; of a larger one, as many are drawn at random."""

Floats = npt.NDArray[np.float64]


class Bins(Protocol):
    """Counts values in bins."""

    @property
    def count(self) -> int:
        """Number of bins."""
        ...

    def counted(self, values: Array) -> Floats:
        """Count values (rows, elements): float64 (bins,). Each row counts as 1, divided among its elements."""
        ...


@dataclass(frozen=True)
class NumberBins:
    """Intervals of numbers. A value outside of all is counted in the nearest one.

    Attributes:
        inner: float64 (bins - 1,), increasing bounds between the bins.
        above: whether a value that equals a bound is counted above it, as ``numpy.histogram`` does.
        has_missing: whether NaN has a bin of its own, the last one; otherwise it is not counted.
    """

    inner: Floats
    above: bool = True
    has_missing: bool = False

    @property
    def count(self) -> int:
        """See ``Bins``."""
        return len(self.inner) + 1 + self.has_missing

    def counted(self, values: Array) -> Floats:
        """See ``Bins``."""
        elements = values.shape[1]
        if elements > MOST_ELEMENTS:
            elements = MOST_ELEMENTS
            values = values[:, np.random.default_rng().integers(0, values.shape[1], elements)]
        flat = values.ravel().astype(np.float64)
        missing = np.isnan(flat)
        places = np.searchsorted(self.inner, flat[~missing], side="right" if self.above else "left")
        counts = np.bincount(places, minlength=self.count).astype(np.float64)
        if self.has_missing:
            counts[-1] += missing.sum()
        return np.asarray(counts / elements)


@dataclass(frozen=True)
class NamedBins:
    """One bin for each known value, and a last one for all others.

    Attributes:
        places: value -> its bin; a text, or the number of a class.
    """

    places: Mapping[object, int]

    @property
    def count(self) -> int:
        """See ``Bins``."""
        return len(self.places) + 1

    def counted(self, values: Array) -> Floats:
        """See ``Bins``."""
        other = len(self.places)
        found = [self.places.get(each, other) for each in values.ravel().tolist()]
        return np.asarray(np.bincount(found, minlength=self.count) / values.shape[1])
