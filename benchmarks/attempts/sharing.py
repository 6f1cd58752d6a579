"""``python -m benchmarks.attempts.sharing``: one model owner behind two HTTP processes, against a model in each.

All processes and the load generator (wrk, 32 connections, raw images) use the same cores. Requires wrk.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from benchmarks.results import spread, write_result
from benchmarks.scaling.measure import posts_of
from benchmarks.serving.command import WORK
from benchmarks.serving.load import closed_loop
from benchmarks.serving.process import free_port

ROOT = Path(__file__).parents[2]
ARRANGEMENTS = {
    "one process": ("alone",),
    "two processes": ("alone", "alone"),
    "two fronts, one owner": ("front", "front", "owner"),
}
CONNECTIONS = 32


@dataclass(frozen=True)
class Parts:
    """The processes of an arrangement.

    Attributes:
        port: of all its fronts.
        processes: by role and number, such as "front 1".
        stats: the file of each process that runs batches, written when it ends.
    """

    port: int
    processes: dict[str, "subprocess.Popen[bytes]"]
    stats: dict[str, Path]

    def start(self, name: str, command: list[str], environment: dict[str, str]) -> None:
        """Start a process, also in place of one that has ended."""
        self.processes[name] = subprocess.Popen(command, env=environment)


def command_of(role: str, name: str, port: int, place: Path) -> list[str]:
    """The command of a process, with the names of its files in ``place``."""
    owner, stats = str(place / "owner"), str(place / f"{name}.json")
    arguments = {"owner": (owner, stats), "alone": (str(port), stats), "front": (str(port), owner)}[role]
    return [sys.executable, str(ROOT / "benchmarks/attempts/shared_batching.py"), role, *arguments]


def environment_of(models: Path, model: str) -> dict[str, str]:
    """The variables of all processes."""
    [graph] = (models / model).glob("*/model.onnx")
    return {**os.environ, "PYTHONPATH": str(ROOT / "benchmarks/serving/peers"), "PEER_MODEL": str(graph)}


@contextmanager
def started(roles: tuple[str, ...], environment: dict[str, str]) -> Iterator[Parts]:
    """The processes of an arrangement; SIGTERM ends them."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        place, parts = Path(folder), Parts(free_port(), {}, {})
        for number, role in enumerate(roles, 1):
            name = f"{role} {number}"
            parts.start(name, command_of(role, name, parts.port, place), environment)
            parts.stats[name] = place / f"{name}.json"
        try:
            while _listeners(parts.port) < sum(role != "owner" for role in roles):
                time.sleep(0.02)
            yield parts
        finally:
            for process in parts.processes.values():
                process.terminate()
            for process in parts.processes.values():
                process.wait(10)


def _listeners(port: int) -> int:
    """How many sockets of this machine listen at a port; proc(5): 0A is the state LISTEN."""
    lines = [line.split() for line in Path("/proc/net/tcp").read_text(encoding="ascii").splitlines()[1:]]
    return sum(fields[3] == "0A" and int(fields[1].partition(":")[2], 16) == port for fields in lines)


def main(
    model: Annotated[str, typer.Option(help="Model of images of 28x28.")] = "fashion-mnist-cnn",
    models: Annotated[Path, typer.Option("--models-dir", help="Models directory.")] = Path("models"),
    seconds: Annotated[float, typer.Option(min=1, help="Seconds of each measurement.")] = 3,
    repeats: Annotated[int, typer.Option(min=1, help="Repeats of all arrangements, in turn.")] = 5,
) -> None:
    """Answers per second and rows of a batch of each arrangement."""
    posts, environment = posts_of(models.resolve(), WORK, model), environment_of(models.resolve(), model)
    cores = sorted(os.sched_getaffinity(0))
    rates: dict[str, list[float]] = {name: [] for name in ARRANGEMENTS}
    rows: dict[str, list[float]] = {name: [] for name in ARRANGEMENTS}
    for repeat in range(repeats):
        for name in list(ARRANGEMENTS)[:: 1 if repeat % 2 else -1]:
            with started(ARRANGEMENTS[name], environment) as parts:
                closed_loop(posts, port=parts.port, connections=CONNECTIONS, seconds=1, core=cores[-1])
                load = closed_loop(posts, port=parts.port, connections=CONNECTIONS, seconds=seconds, core=cores[-1])
                for process in parts.processes.values():
                    process.terminate()
                    process.wait(10)
                counts = [json.loads(path.read_text()) for path in parts.stats.values() if path.exists()]
            rates[name].append(load.rate_per_s)
            rows[name].append(sum(each["rows"] for each in counts) / sum(each["batches"] for each in counts))
    table = Table("arrangement", "answers/s", "rows of a batch", title=model)
    for name, found in rates.items():
        table.add_row(
            name, f"{median(found):,.0f} ({min(found):,.0f} to {max(found):,.0f})", f"{median(rows[name]):.1f}"
        )
    Console().print(table)
    found_rates = {name: spread(each) for name, each in rates.items()}
    found_rows = {name: spread(each) for name, each in rows.items()}
    write_result(f"sharing-{model}", {"model": model, "rates_per_s": found_rates, "rows_per_batch": found_rows})


if __name__ == "__main__":
    typer.run(main)
