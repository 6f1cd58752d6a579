"""First runs before ready, and the latency curve they give."""

from bisect import bisect_left
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from statistics import median

import numpy as np

from app.runtime.backend import Backend, Tensors, row_count

Clock = Callable[[], float]


class LatencyCurve:
    """Seconds of one backend call per batch size: measured at warm-up, refined by every call since.

    Args:
        batch_sizes: increasing.
        seconds: of a call with that many rows.
    """

    # A call moves the figure of its size by this share of the difference: the last dozen calls count most.
    _WEIGHT = 0.1

    def __init__(self, batch_sizes: Sequence[int], seconds: Sequence[float]) -> None:
        self.batch_sizes = tuple(batch_sizes)
        self._seconds = list(seconds)

    @property
    def seconds(self) -> tuple[float, ...]:
        """The figure of each batch size."""
        return tuple(self._seconds)

    def estimate(self, rows: int) -> float:
        """Seconds of a call with ``rows`` rows: linear between the sizes, proportional beyond the last."""
        sizes, seconds = self.batch_sizes, self._seconds
        index = bisect_left(sizes, rows)
        if index == len(sizes):
            return seconds[-1] * rows / sizes[-1]
        if index == 0 or sizes[index] == rows:
            return seconds[index]
        left, right = sizes[index - 1], sizes[index]
        share = (rows - left) / (right - left)
        return seconds[index - 1] + share * (seconds[index] - seconds[index - 1])

    def observe(self, rows: int, seconds: float) -> None:
        """Refine the figure of the next size above ``rows`` by a call that took ``seconds``."""
        index = min(bisect_left(self.batch_sizes, rows), len(self._seconds) - 1)
        change = self._WEIGHT * (seconds - self.estimate(rows))
        self._seconds[index] = max(self._seconds[index] + change, 0.0)


def measure_curve(
    backend: Backend, samples: Tensors, *, max_batch_size: int, budget_s: float, clock: Clock
) -> LatencyCurve:
    """Run batches of 1, 2, 4, ... max_batch_size rows and take the median time of each size.

    Args:
        backend: what is measured; its first call of each size is discarded as warm-up.
        samples: realistic rows, repeated to fill a batch.
        max_batch_size: largest batch that will be asked for.
        budget_s: seconds to spend in all; every size is run at least twice, whatever that takes.
        clock: monotonic seconds.
    """
    sizes = batch_sizes_up_to(max_batch_size)
    share = budget_s / len(sizes)
    return LatencyCurve(sizes, tuple(_median_seconds(backend, _fill(samples, size), share, clock) for size in sizes))


def batch_sizes_up_to(limit: int) -> tuple[int, ...]:
    """Powers of two below ``limit``, then ``limit``."""
    sizes = [1]
    while sizes[-1] * 2 < limit:
        sizes.append(sizes[-1] * 2)
    return (*sizes, limit) if limit > 1 else (1,)


def measure_thread_hop(executor: Executor, *, repeats: int = 50, clock: Clock) -> float:
    """Median seconds to hand nothing to a worker thread and take it back: the price of not running inline."""
    times = []
    for _ in range(repeats):
        start = clock()
        executor.submit(int).result()
        times.append(clock() - start)
    return median(times)


def _median_seconds(backend: Backend, batch: Tensors, budget_s: float, clock: Clock) -> float:
    deadline = clock() + budget_s
    backend.run(batch)
    times: list[float] = []
    while not times or (clock() < deadline and len(times) < 20):
        start = clock()
        backend.run(batch)
        times.append(clock() - start)
    return median(times)


def _fill(samples: Tensors, rows: int) -> Tensors:
    """A batch of ``rows`` samples, evenly chosen and from the end: golden texts are sorted, the longest come last."""
    indices = np.linspace(row_count(samples) - 1, 0, rows).round().astype(int)
    return {name: np.ascontiguousarray(values[indices]) for name, values in samples.items()}
