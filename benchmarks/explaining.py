"""Predictions at half the maximum rate, alone and beside explanations of the same model, in turn."""

import json
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from benchmarks.serving import forms
from benchmarks.serving.errors import Unavailable
from benchmarks.serving.load import Load, closed_loop, open_loop
from benchmarks.serving.samples import DISTINCT_IMAGES, Samples
from benchmarks.workers import CONNECTIONS, WARM_UP_S, cores_for, service

EXPLAINED = 100
SHARE = 0.5
"""Of the maximum rate."""


@dataclass
class Explained:
    """What was measured, one figure for each repeat.

    Attributes:
        rate_per_s: of the predictions.
        alone_ms, beside_ms: p99 of the predictions without explanations, and beside them.
        seconds: that ``EXPLAINED`` explanations took beside predictions.
        alone_s: the same without any predictions, once.
    """

    rate_per_s: float
    alone_ms: list[float] = field(default_factory=list)
    beside_ms: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    alone_s: float = 0.0

    @property
    def added_ms(self) -> float:
        """How much later 99 of 100 predictions are answered beside explanations: the median of the differences."""
        return median(beside - alone for beside, alone in zip(self.beside_ms, self.alone_ms, strict=True))


def measure_explaining(models: Path, work: Path, *, name: str, method: str, seconds: float, repeats: int) -> Explained:
    """Measure one model in a service on one core; the load generator has the other one.

    Raises:
        Unavailable: too few cores, no such model, or answers that are errors.
    """
    if not (models / name).is_dir():
        raise Unavailable(f"{models} contains no {name}, which this command measures")
    cores = cores_for(1)
    images = Samples(models, work).images
    write = forms.raw(f"/v1/models/{name}:predict", "predictions", rows=True).write
    posts = [write(images[row : row + 1]) for row in range(DISTINCT_IMAGES)]
    with service(models, 1, cores) as port:
        closed_loop(posts, port=port, connections=CONNECTIONS, seconds=WARM_UP_S, core=cores.load)
        most = closed_loop(posts, port=port, connections=CONNECTIONS, seconds=seconds, core=cores.load)
        found = Explained(rate_per_s=SHARE * most.rate_per_s)
        bodies = [
            json.dumps({"instances": [images[row].tolist()], "method": method}).encode() for row in range(EXPLAINED)
        ]
        found.alone_s = _explain(port, name, bodies)

        def predictions() -> Load:
            load = open_loop(posts, port=port, rate_per_s=found.rate_per_s, seconds=seconds, core=cores.load)
            if load.errors:
                raise Unavailable(f"{load.errors} of {load.requests} predictions failed")
            return load

        for _ in range(repeats):
            found.alone_ms.append(predictions().p99_ms)
            with _explaining(port, name, bodies) as taken:
                found.beside_ms.append(predictions().p99_ms)
            found.seconds += taken
    return found


@contextmanager
def _explaining(port: int, name: str, bodies: list[bytes]) -> Iterator[list[float]]:
    """Explain all bodies again and again until the block ends; the list has the seconds of each complete round."""
    taken: list[float] = []
    stop, failed = threading.Event(), []

    def explain() -> None:
        try:
            while not stop.is_set():
                taken.append(_explain(port, name, bodies))
        except OSError as error:
            failed.append(error)

    thread = threading.Thread(target=explain)
    thread.start()
    try:
        yield taken
    finally:
        stop.set()
        thread.join()
    if failed:
        raise Unavailable(f"an explanation failed: {failed[0]}")


def _explain(port: int, name: str, bodies: list[bytes]) -> float:
    """Seconds to explain all of them, one after another."""
    began = time.perf_counter()
    for body in bodies:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/v1/models/{name}:explain", body, timeout=60) as reply:
            reply.read()
    return time.perf_counter() - began
