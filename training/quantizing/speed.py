"""Time that two graphs take for the same rows: in turn, so that other work of the machine meets both."""

import time
from collections.abc import Mapping
from statistics import median
from typing import Any

import numpy.typing as npt

from training.export.model_export import Runner

BATCH_SIZES = (1, 32)
ROUNDS = 9
SHORTEST_S = 0.02

Rows = Mapping[str, npt.NDArray[Any]]


def seconds_per_row(runners: Mapping[str, Runner], rows: Rows) -> dict[str, dict[int, float]]:
    """Name -> batch size -> seconds a row: the medians of rounds in which each runs for some time.

    Args:
        runners: with one thread each.
        rows: at least as many as the largest batch, or fewer for smaller ones.
    """
    found: dict[str, dict[int, float]] = {name: {} for name in runners}
    for size in BATCH_SIZES:
        batch = {name: values[:size] for name, values in rows.items()}
        count = len(next(iter(batch.values())))
        if count < size:
            break
        times: dict[str, list[float]] = {name: [] for name in runners}
        for _ in range(ROUNDS):
            for name, run in runners.items():
                times[name].append(_seconds(run, batch) / size)
        for name, values in times.items():
            found[name][size] = median(values)
    return found


def _seconds(run: Runner, batch: Rows) -> float:
    calls, started = 0, time.perf_counter()
    while (spent := time.perf_counter() - started) < SHORTEST_S or not calls:
        run(batch)
        calls += 1
    return spent / calls
