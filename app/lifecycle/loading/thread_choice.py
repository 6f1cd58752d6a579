"""Chooses between one thread and all of them for a graph on the CPU, by measuring both."""

from collections.abc import Callable

from app.runtime.backend import Backend, row_count, take_rows
from app.runtime.warmup import median_seconds
from app.types import Clock, Tensors

# All threads are used for models that take at least that long for one row with one thread, if the others cut the time
# to this share.
THREADS_FROM_S = 0.001
THREADS_GAIN = 0.75


def with_threads(
    single: Backend, open_again: Callable[[int], Backend], threads: int, samples: Tensors | None, *, clock: Clock
) -> Backend:
    """The graph as ``single`` runs it, with one thread, or with all of them where that is measured to be worth it.

    To wake further threads costs more than a small model's call, and while they compute they are missing
    elsewhere: for the event loop, and for other models.

    Args:
        single: with one thread; closed if another one is returned, or on an exception.
        open_again: opens the graph with a number of threads.
        threads: that the machine has for one call.
        samples: rows to measure with; None: ``single`` is returned.
        clock: monotonic seconds.
    """
    if threads == 1 or samples is None:
        return single
    try:
        rows = row_count(samples)
        row = take_rows(samples, rows - 1, rows)
        single_s = median_seconds(single, row, budget_s=0.0, clock=clock)
        if single_s < THREADS_FROM_S:
            return single
        several = open_again(threads)
    except BaseException:
        single.close()
        raise
    several_s = median_seconds(several, row, budget_s=5 * single_s, clock=clock)
    single_s = median_seconds(single, row, budget_s=5 * single_s, clock=clock)
    chosen, other = (several, single) if several_s < THREADS_GAIN * single_s else (single, several)
    other.close()
    return chosen
