"""Ratio of requests that two worker processes answer to those of one: raw images, 32 connections, closed loop."""

import os
import re
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from benchmarks.serving import forms
from benchmarks.serving.errors import Unavailable
from benchmarks.serving.load import Load, closed_loop
from benchmarks.serving.samples import DISTINCT_IMAGES, IMAGE_MODEL, Samples

CONNECTIONS = 32
WARM_UP_S = 1.0


@dataclass(frozen=True)
class Cores:
    """Cores of the services and of the load generator; with two cores the generator shares one of theirs."""

    services: tuple[int, ...]
    load: int


@dataclass(frozen=True)
class Comparison:
    """Good answers per second, one figure per repeat, by the number of workers."""

    rates: dict[int, list[float]]

    def ratio(self, few: int, many: int) -> float:
        """The ratio of the medians."""
        return median(self.rates[many]) / median(self.rates[few])


def cores_for(workers: int) -> Cores:
    """At most as many cores as workers, and another one for the load if there is one.

    Raises:
        Unavailable: this process may use only one core.
    """
    allowed = sorted(os.sched_getaffinity(0))
    if len(allowed) < 2:
        raise Unavailable("a second worker requires a second core; this process may use only one")
    return Cores(tuple(allowed[:workers]), allowed[min(workers, len(allowed) - 1)])


def compare_workers(models: Path, work: Path, *, numbers: tuple[int, int], seconds: float, repeats: int) -> Comparison:
    """Measure services with different numbers of workers in turn, each first in every other repeat.

    Raises:
        Unavailable: too few cores, no model, a service that does not start, or answers that are errors.
    """
    if not (models / IMAGE_MODEL).is_dir():
        raise Unavailable(f"{models} contains no {IMAGE_MODEL}, which this command measures")
    cores = cores_for(max(numbers))
    samples = Samples(models, work)
    write = forms.raw(f"/v1/models/{IMAGE_MODEL}:predict", "predictions", rows=True).write
    posts = [write(samples.images[row : row + 1]) for row in range(DISTINCT_IMAGES)]
    rates: dict[int, list[float]] = {number: [] for number in numbers}
    with service(models, numbers[0], cores) as first, service(models, numbers[1], cores) as second:
        ports = dict(zip(numbers, (first, second), strict=True))
        for repeat in range(-1, repeats):
            for number in numbers if repeat % 2 else numbers[::-1]:
                lasting_s = seconds if repeat >= 0 else WARM_UP_S
                load = closed_loop(
                    posts, port=ports[number], connections=CONNECTIONS, seconds=lasting_s, core=cores.load
                )
                _check(load, number)
                if repeat >= 0:
                    rates[number].append(load.rate_per_s)
    return Comparison(rates)


def _check(load: Load, workers: int) -> None:
    if load.errors:
        raise Unavailable(f"{load.errors} of {load.requests} requests to {workers} workers failed")


@contextmanager
def service(models: Path, workers: int, cores: Cores) -> Iterator[int]:
    """A service that is ready; yields its port."""
    allowed = ",".join(map(str, cores.services))
    serve = [sys.executable, "-m", "app", "serve", "--port", "0", "--models-dir", str(models)]
    command = ["taskset", "--cpu-list", allowed, *serve, "--workers", str(workers)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        try:
            lines = (re.search(r"running on http://127\.0\.0\.1:(\d+)", line) for line in process.stderr)
            found = next((line for line in lines if line), None)
            if found is None:
                raise Unavailable(f"the service with {workers} workers ended before it listened")
            while not _is_ready(int(found[1])):
                time.sleep(0.02)
            yield int(found[1])
        finally:
            process.terminate()
            process.stderr.read()


def _is_ready(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/v2/health/ready") as reply:
            return bool(reply.status == 200)
    except urllib.error.HTTPError:
        return False
