"""``ModelInfer`` over gRPC, one image a call: Atelier and a bare servicer, with Triton's perf_analyzer as client."""

import csv
import json
import os
import socket
import subprocess
import sys
import tempfile
import urllib.request
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from benchmarks.serving.errors import Unavailable
from benchmarks.serving.process import free_port, running, two_cores
from benchmarks.serving.samples import IMAGE_MODEL, LARGE_BATCH, Samples
from benchmarks.serving.servers import PEERS, REPOSITORY

CONCURRENCIES = (1, 8, 32)
LIMIT_S = 60
ATELIER, FLOOR = "Atelier", "bare servicer"
INSTALLED = REPOSITORY / "build" / "perf-analyzer-venv"
"""Made by ``make perf-analyzer``."""


@dataclass(frozen=True)
class Point:
    """One measurement.

    Attributes:
        rate_per_s: calls.
        p50_us, p99_us: latencies, in microseconds.
    """

    rate_per_s: float
    p50_us: float
    p99_us: float


Points = dict[tuple[str, int], list[Point]]
"""Server and concurrency -> one point per repeat."""


def ratio(points: Points, concurrency: int) -> float:
    """Atelier's rate divided by that of the bare servicer, of medians."""
    rates = {server: median(each.rate_per_s for each in points[server, concurrency]) for server in (ATELIER, FLOOR)}
    return rates[ATELIER] / rates[FLOOR]


def measure(models: Path, work: Path, *, seconds: float, repeats: int, installed: Path = INSTALLED) -> Points:
    """Measure both in turn, each first in every other repeat; servers on one core, the client on the other.

    Raises:
        Unavailable: perf_analyzer is not installed, too few cores, or a server does not start.
    """
    client, cores = _Client(installed, seconds), two_cores()
    images = Samples(models, work).images[:LARGE_BATCH]
    http, grpc, floor = free_port(), free_port(), free_port()
    serve = [sys.executable, "-m", "app", "serve", "--models-dir", str(models)]
    starts = (
        (ATELIER, [*serve, "--port", str(http), "--grpc-port", str(grpc)], grpc, lambda: _not_ready(http)),
        (FLOOR, [sys.executable, str(PEERS / "grpc_floor.py"), str(floor)], floor, lambda: _closed(floor)),
    )
    points: Points = {}
    with tempfile.TemporaryDirectory() as directory, ExitStack() as servers:
        data = Path(directory) / "images.json"
        rows = [{"pixels": image.reshape(-1).tolist()} for image in images]
        data.write_text(json.dumps({"data": rows}), encoding="utf-8")
        for name, command, port, answers in starts:
            log = work / f"{name.replace(' ', '-')}.log"
            servers.enter_context(
                running(
                    command,
                    {"PYTHONPATH": str(REPOSITORY)},
                    port=port,
                    core=cores.server,
                    log=log,
                    directory=REPOSITORY,
                    answers=answers,
                )
            )
        for repeat in range(repeats):
            for name, _, port, _ in starts if repeat % 2 else starts[::-1]:
                for concurrency in CONCURRENCIES:
                    point = client.point(port, concurrency, data=data, core=cores.load)
                    points.setdefault((name, concurrency), []).append(point)
    return points


class _Client:
    """perf_analyzer.

    Args:
        installed: virtual environment with it.
        seconds: of each measurement.
    """

    def __init__(self, installed: Path, seconds: float) -> None:
        self._program = installed / "bin" / "perf_analyzer"
        if not self._program.exists():
            raise Unavailable(f"{self._program} does not exist; `make perf-analyzer` installs it")
        [libraries] = installed.glob("lib/python3*/site-packages/nvidia/cuda_runtime/lib")
        self._environment = {**os.environ, "LD_LIBRARY_PATH": str(libraries)}
        self._interval_ms = int(1e3 * seconds)

    def point(self, port: int, concurrency: int, *, data: Path, core: int) -> Point:
        """Measure a server."""
        report = data.with_name("report.csv")
        report.unlink(missing_ok=True)
        options = ["-m", IMAGE_MODEL, "-u", f"127.0.0.1:{port}", "-i", "grpc", "--input-data", str(data)]
        # The best of three windows may be ten times the worst: the repeats show the noise.
        window = [
            "--measurement-interval",
            str(self._interval_ms),
            "--max-trials",
            "3",
            "--stability-percentage",
            "900",
        ]
        command = [str(self._program), *options, *window, "--concurrency-range", str(concurrency), "-f", str(report)]
        done = subprocess.run(
            ["timeout", str(LIMIT_S), "taskset", "--cpu-list", str(core), *command],
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        if done.returncode or not report.exists():
            raise Unavailable(f"perf_analyzer ended with {done.returncode}: {done.stdout.strip()[-300:]}")
        with report.open(encoding="utf-8") as file:
            [row] = csv.DictReader(file)
        return Point(float(row["Inferences/Second"]), float(row["p50 latency"]), float(row["p99 latency"]))


def _not_ready(port: int) -> str | None:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/v2/health/ready") as reply:
            return None if reply.status == 200 else f"status {reply.status}"
    except OSError as error:
        return str(error)


def _closed(port: int) -> str | None:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError as error:
        return str(error)
    return None
