"""Warm-up: the first runs before a version is ready, and the latency curve measured in them."""

from bisect import bisect_left
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from itertools import accumulate
from statistics import median

import numpy as np

from app.runtime.backend import Backend, row_count
from app.types import Array, Clock, Tensors

DISTURBED = 1.5
"""A size that takes this many times as long as the rows of the size before is measured again: another process may have
had the core. The figures decide how the version is batched until it is unloaded."""


class LatencyCurve:
    """Seconds of one backend call by batch size and length: measured at warm-up, refined by every call since.

    Args:
        batch_sizes: increasing.
        seconds: of a call with that many rows; for several lengths one sequence per length.
        lengths: increasing; (0,) for models whose instances all have the same shape.
    """

    # Each call moves the nearest figures by this share of the difference: about the last dozen calls count most.
    _WEIGHT = 0.1

    def __init__(
        self, batch_sizes: Sequence[int], seconds: Sequence[Sequence[float]], *, lengths: Sequence[int] = (0,)
    ) -> None:
        self.batch_sizes = tuple(batch_sizes)
        self.lengths = tuple(lengths)
        self._seconds = [list(row) for row in seconds]
        # Results of ``per_row`` without a length, which every request asks for, until the next observation.
        self._per_row: dict[int, float] = {}

    @property
    def seconds(self) -> tuple[float, ...]:
        """The figure of each batch size, at the greatest length."""
        return tuple(self._seconds[-1])

    @property
    def table(self) -> tuple[tuple[float, ...], ...]:
        """All figures: one row per length, one column per batch size."""
        return tuple(map(tuple, self._seconds))

    def estimate(self, rows: int, length: int = 0) -> float:
        """Seconds of a call with ``rows`` rows of ``length``: linear between the figures, proportional beyond."""
        if len(self.lengths) == 1:
            return _interpolate(self.batch_sizes, self._seconds[0], rows)
        index = bisect_left(self.lengths, length)
        if index == 0:
            return _interpolate(self.batch_sizes, self._seconds[0], rows)
        last = len(self.lengths) - 1
        if index > last:
            return _interpolate(self.batch_sizes, self._seconds[last], rows) * length / self.lengths[last]
        shorter, longer = self.lengths[index - 1], self.lengths[index]
        share = (length - shorter) / (longer - shorter)
        below = _interpolate(self.batch_sizes, self._seconds[index - 1], rows)
        above = _interpolate(self.batch_sizes, self._seconds[index], rows)
        return below + share * (above - below)

    def per_row(self, rows: int, length: int = 0) -> float:
        """Seconds that one row costs in a call with ``rows`` of them."""
        if length:
            return self.estimate(rows, length) / rows
        seconds = self._per_row.get(rows)
        if seconds is None:
            seconds = self._per_row[rows] = self.estimate(rows) / rows
        return seconds

    def observe(self, rows: int, seconds: float, length: int = 0) -> None:
        """Refine the figure of the next size and length above by a call that took ``seconds``."""
        last = len(self.lengths) - 1
        column = min(bisect_left(self.batch_sizes, rows), len(self.batch_sizes) - 1)
        row = min(bisect_left(self.lengths, length), last) if last else 0
        change = self._WEIGHT * (seconds - self.estimate(rows, length))
        self._seconds[row][column] = max(self._seconds[row][column] + change, 0.0)
        self._per_row.clear()


def measure_curve(
    backend: Backend,
    samples: Tensors,
    *,
    max_batch_size: int,
    budget_s: float,
    clock: Clock,
    sequence: str | None = None,
    may_try: Callable[[int, int, float], bool] = lambda before, size, estimate_s: True,
    ran: tuple[int, float] = (0, 0.0),
) -> LatencyCurve:
    """Run batches of 1, 2, 4, ... max_batch_size rows and take the median time of each size.

    Args:
        backend: the backend to measure; its first call of each size is discarded if there is time for a second.
        samples: realistic rows, repeated to fill a batch.
        max_batch_size: largest batch of later calls.
        budget_s: seconds to spend in all; every size runs at least once, even if that takes longer, unless ``ran``
            allows it to be estimated.
        clock: monotonic seconds.
        sequence: the input (rows, length) whose length varies, with zeros after a row's end; it is measured at several
            lengths. None measures one shape.
        may_try: called before each size but the first with the previous size, this size, and the seconds predicted from
            the previous one; if it returns false, this size and all larger ones are left out.
        ran: rows and seconds of a call that the backend has answered before. A size up to those rows that would take
            longer than its share of the budget is not run: its figure is on the line to that call. Not for
            ``sequence``.
    """
    sizes = batch_sizes_up_to(max_batch_size)
    lengths = (0,) if sequence is None else _lengths_to_measure(samples[sequence])
    share = budget_s / len(sizes) / len(lengths)
    seconds: list[list[float]] = []
    for length in reversed(lengths):  # the longest first: it determines which sizes are left out
        rows = samples if sequence is None else {sequence: _of_length(samples[sequence], length)}
        row: list[float] = []
        for size in sizes:
            before = sizes[len(row) - 1]
            estimate_s = row[-1] * size / before if row else 0.0
            if sequence is None and size <= ran[0] and estimate_s > share:
                row.append(_interpolate((before, ran[0]), (row[-1], ran[1]), size))
                continue
            if row and not may_try(before, size, estimate_s):
                break
            batch = _fill(rows, size)
            took_s = median_seconds(backend, batch, budget_s=share, clock=clock)
            if row and took_s > DISTURBED * estimate_s:
                took_s = min(took_s, median_seconds(backend, batch, budget_s=share, clock=clock))
            row.append(took_s)
        sizes = sizes[: len(row)]
        seconds.insert(0, _without_peaks(row))
    return LatencyCurve(sizes, [row[: len(sizes)] for row in seconds], lengths=lengths)


def _without_peaks(seconds: Sequence[float]) -> list[float]:
    """Figures of increasing sizes, none of which is above a later one: fewer rows do not take longer."""
    return list(accumulate(reversed(seconds), min))[::-1]


def batch_sizes_up_to(limit: int) -> tuple[int, ...]:
    """Powers of two below ``limit``, then ``limit``."""
    sizes = [1]
    while sizes[-1] * 2 < limit:
        sizes.append(sizes[-1] * 2)
    return (*sizes, limit) if limit > 1 else (1,)


def measure_thread_hop(executor: Executor, *, repeats: int = 50, clock: Clock) -> float:
    """Median seconds of an empty hop to a worker thread and back: the cost of not running on the event loop."""
    times = []
    for _ in range(repeats):
        start = clock()
        executor.submit(int).result()
        times.append(clock() - start)
    return median(times)


def median_seconds(backend: Backend, batch: Tensors, *, budget_s: float, clock: Clock) -> float:
    """Median seconds of up to 20 calls within the budget, after one that is discarded if there is time for another."""
    began = clock()
    deadline = began + budget_s
    backend.run(batch)
    first_s = clock() - began
    if 2 * first_s > budget_s:
        return first_s
    times: list[float] = []
    while not times or (clock() < deadline and len(times) < 20):
        start = clock()
        backend.run(batch)
        times.append(clock() - start)
    return median(times)


def _lengths_to_measure(ids: Array) -> tuple[int, ...]:
    """The longest row, and a quarter and a sixteenth of it."""
    longest = int((ids != 0).sum(axis=1).max())
    return tuple(sorted({max(1, longest // 16), max(1, longest // 4), longest}))


def _of_length(ids: Array, length: int) -> Array:
    """The rows that are at least that long, truncated to it."""
    return ids[(ids != 0).sum(axis=1) >= length, :length]


def _interpolate(sizes: Sequence[int], seconds: Sequence[float], rows: int) -> float:
    index = bisect_left(sizes, rows)
    if index == len(sizes):
        return seconds[-1] * rows / sizes[-1]
    if index == 0 or sizes[index] == rows:
        return seconds[index]
    left, right = sizes[index - 1], sizes[index]
    share = (rows - left) / (right - left)
    return seconds[index - 1] + share * (seconds[index] - seconds[index - 1])


def _fill(samples: Tensors, rows: int) -> Tensors:
    """A batch of ``rows`` samples, evenly chosen, including the last."""
    indices = np.linspace(row_count(samples) - 1, 0, rows).round().astype(int)
    return {name: np.ascontiguousarray(values[indices]) for name, values in samples.items()}
