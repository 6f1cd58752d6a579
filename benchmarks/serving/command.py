"""``python -m benchmarks serving``: checks the names, measures, shows and writes."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path

from rich.console import Console

from benchmarks.serving.chart import draw
from benchmarks.serving.errors import Unavailable
from benchmarks.serving.load import require_wrk
from benchmarks.serving.process import two_cores
from benchmarks.serving.report import document, show
from benchmarks.serving.run import Plan, all_workloads, measure
from benchmarks.serving.servers import REPOSITORY, SERVERS
from benchmarks.serving.workloads import WORKLOADS

WORK = REPOSITORY / "runs" / "benchmarks"
QUIET_LOAD_AVERAGE = 0.5


def run_serving(
    *,
    only: str,
    workloads: str,
    seconds: float,
    repeats: int,
    models: Path,
    triton: Path | None,
    picture: Path,
    write: Callable[..., None],
) -> None:
    """Measure servers under workloads, both given as names separated by commas, or empty for all.

    Args:
        triton: directory of an installed Triton with its ONNX Runtime backend.
        picture: PNG to draw.
        write: receives the document for the results file.

    Raises:
        Unavailable: an unknown name, no wrk, or a single core.
    """
    plan = Plan(
        servers=_names(only, SERVERS, "server"),
        workloads=all_workloads(_names(workloads, WORKLOADS, "workload")),
        seconds=seconds,
        repeats=repeats,
        models=models.resolve(),
        work=WORK,
        cores=two_cores(),
        load_average=os.getloadavg()[0],
        triton=None if triton is None else triton.resolve(),
    )
    wrk, console = require_wrk(), Console()
    if plan.load_average > QUIET_LOAD_AVERAGE:
        console.print(f"[yellow]load average {plan.load_average:.2f}: other programs run, the figures are not reliable")
    found = measure(plan, lambda line: console.print(line, style="dim", highlight=False, markup=False))
    show(console if console.is_terminal else Console(width=170), plan, found)
    write(document(plan, found, wrk=wrk))
    draw(plan, found, picture)


def _names(text: str, known: Mapping[str, object], what: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    if unknown := [name for name in names if name not in known]:
        raise Unavailable(f"unknown {what} {', '.join(unknown)}; choose from {', '.join(known)}")
    return tuple(name for name in known if not names or name in names)
