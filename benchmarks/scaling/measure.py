"""Measures the curve of one replica, and loads on one and two of them, with requests of single images."""

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from benchmarks.scaling.curve import Curve
from benchmarks.serving import forms
from benchmarks.serving.errors import Unavailable
from benchmarks.serving.forms import Post
from benchmarks.serving.load import Load, closed_loop, scheduled_loop
from benchmarks.serving.samples import DISTINCT_IMAGES, Samples
from benchmarks.workers import Cores, service

SIZES = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)
"""Connections of the closed loops; the largest is as many as an open loop has."""


@dataclass(frozen=True)
class Replicas:
    """Services that are ready, each on a core of its own.

    Attributes:
        ports: of the services.
        load_core: of the load generator, which is also the last replica's where there is no other core.
    """

    ports: tuple[int, ...]
    load_core: int


@contextmanager
def replicas(models: Path, count: int) -> Iterator[Replicas]:
    """Start services.

    Raises:
        Unavailable: too few cores, or one does not start.
    """
    allowed = sorted(os.sched_getaffinity(0))
    if len(allowed) < 2 or count > len(allowed):
        raise Unavailable(f"{count} replicas and a load generator require more than {len(allowed)} cores")
    load_core = allowed[min(count, len(allowed) - 1)]
    with ExitStack() as stack:
        started = [stack.enter_context(service(models, 1, Cores((core,), load_core))) for core in allowed[:count]]
        yield Replicas(tuple(started), load_core)


def posts_of(models: Path, work: Path, model: str) -> list[Post]:
    """Different images, as raw bytes.

    Raises:
        Unavailable: there is no such model.
    """
    if not (models / model).is_dir():
        raise Unavailable(f"{models} contains no {model}, which this command measures")
    samples = Samples(models, work)
    write = forms.raw(f"/v1/models/{model}:predict", "predictions", rows=True).write
    return [write(samples.images[row : row + 1]) for row in range(DISTINCT_IMAGES)]


def measure_curve(posts: Sequence[Post], running: Replicas, *, seconds: float, repeats: int) -> Curve:
    """Closed loops of each size, the sizes in turn.

    Raises:
        Unavailable: a request fails.
    """
    rates: dict[int, list[float]] = {size: [] for size in SIZES}
    for repeat in range(repeats):
        for size in SIZES if repeat % 2 else SIZES[::-1]:
            load = closed_loop(posts, port=running.ports[0], connections=size, seconds=seconds, core=running.load_core)
            if load.errors:
                raise Unavailable(f"{load.errors} requests over {size} connections failed")
            rates[size].append(load.rate_per_s)
    return Curve.of_rates({size: median(found) for size, found in rates.items()})


def measure_load(posts: Sequence[Post], running: Replicas, due_s: Sequence[float], *, skipped: int) -> Load:
    """An open loop with these times, to the replicas in turn.

    The generator sleeps until a request is due: on this kind of machine a busy core slows the other one.
    """
    return scheduled_loop(posts, ports=running.ports, due_s=due_s, skipped=skipped, core=running.load_core, sleeps=True)
