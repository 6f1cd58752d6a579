"""Sums that add up over processes, kept in plain lists and turned into samples on scrape.

``prometheus_client``'s own ``observe`` takes about a microsecond, too much for ten calls per request.
"""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt


class Histogram:
    """Counts per bucket and their sum.

    Args:
        bounds: inclusive upper bounds, increasing; a last bucket counts larger values.
    """

    __slots__ = ("_bounds", "_counts", "_sum")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def observe(self, value: float) -> None:
        """Count one value."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value

    def observe_all(self, values: npt.NDArray[np.float64]) -> None:
        """Count many values."""
        places = np.searchsorted(self._bounds, values, side="left")
        for place, count in enumerate(np.bincount(places, minlength=len(self._counts)).tolist()):
            self._counts[place] += count
        self._sum += float(values.sum())

    def samples(self) -> tuple[list[tuple[str, float]], float]:
        """Cumulative counts by bound, in Prometheus' form, and the sum."""
        total = 0.0
        buckets = []
        for bound, count in zip((*map(str, self._bounds), "+Inf"), self._counts, strict=True):
            total += count
            buckets.append((bound, total))
        return buckets, self._sum

    def snapshot(self) -> list[float]:
        """Counts per bucket, then the sum."""
        return [*self._counts, self._sum]

    def merge(self, snapshot: Sequence[float]) -> None:
        """Add the counts of another histogram with the same bounds."""
        *counts, total = snapshot
        for place, count in enumerate(counts):
            self._counts[place] += int(count)
        self._sum += total


@dataclass(slots=True)
class Duration:
    """A count, and the total seconds."""

    count: int = 0
    seconds: float = 0.0

    def add(self, seconds: float, *, count: int = 1) -> None:
        """Count one event, or ``count`` events, that took ``seconds`` together."""
        self.count += count
        self.seconds += seconds

    def as_statistics(self) -> dict[str, int]:
        """In Triton's form: count and nanoseconds."""
        return {"count": self.count, "ns": round(self.seconds * 1e9)}

    def snapshot(self) -> tuple[int, float]:
        """Count and seconds."""
        return self.count, self.seconds

    def merge(self, snapshot: tuple[int, float]) -> None:
        """Add another one."""
        self.add(snapshot[1], count=snapshot[0])


def plain(value: Any) -> Any:
    """A count as JSON has it: of a table, pairs of key and count."""
    if isinstance(value, Histogram | Duration):
        return value.snapshot()
    if isinstance(value, dict):
        return [[key, plain(count)] for key, count in value.items()]
    return [plain(each) for each in value] if isinstance(value, tuple) else value


def summed(own: Any, other: Any) -> Any:
    """A count and what another process has counted, as ``plain`` gives it. A table makes the counts that it lacks."""
    if isinstance(own, Histogram | Duration):
        own.merge(other)
    elif isinstance(own, dict):
        for key, count in other:
            key = tuple(key) if isinstance(key, list) else key
            own[key] = summed(own[key], count)
    elif isinstance(own, tuple):
        return tuple(summed(*pair) for pair in zip(own, other, strict=True))
    else:
        return own + other
    return own
