"""Sums over a sliding window of time."""

from collections import deque
from collections.abc import Sequence
from threading import Lock

import numpy as np

from app.drift.bins import Floats

PARTS = 12
"""The window slides by one part of its length at a time."""


class Window:
    """Counts of the last seconds, for any thread. It keeps ``PARTS`` sums, however many rows were counted.

    Args:
        sizes: bins of each measure.
        seconds: length of the window.
    """

    def __init__(self, sizes: Sequence[int], seconds: float) -> None:
        self._sizes = sizes
        self._part_s = seconds / PARTS
        self._parts: deque[tuple[int, list[Floats]]] = deque()
        self._lock = Lock()

    def add(self, place: int, counts: Floats, now: float) -> None:
        """Add counts of the measure with that place.

        Args:
            place: of the measure.
            counts: float64 (bins,).
            now: monotonic seconds.
        """
        part = int(now / self._part_s)
        with self._lock:
            if not self._parts or self._parts[-1][0] < part:
                self._parts.append((part, [np.zeros(size) for size in self._sizes]))
            self._parts[-1][1][place] += counts

    def sums(self, now: float) -> list[Floats]:
        """For each measure the counts of the window: float64 (bins,)."""
        first = int(now / self._part_s) - PARTS + 1
        sums = [np.zeros(size) for size in self._sizes]
        with self._lock:
            while self._parts and self._parts[0][0] < first:
                self._parts.popleft()
            for _, counts in self._parts:
                for total, each in zip(sums, counts, strict=True):
                    total += each
        return sums
