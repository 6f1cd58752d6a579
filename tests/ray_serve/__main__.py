"""Checks the application of Ray Serve on a cluster of several node processes: ``python -m tests.ray_serve [--quick]``.

Each check prints what it saw; the first that fails ends the run. ``--quick`` leaves out groups, autoscaling, bulk
scoring, HAProxy and the throughput, which takes ``wrk``.
"""

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.serving.process import free_port
from tests.ray_serve.answers import refused_commands, same_answers, same_answers_of_groups, summed_metrics
from tests.ray_serve.changes import died, published, scaled_up, updated
from tests.ray_serve.nodes import haproxy, started
from tests.ray_serve.questions import write_models
from tests.ray_serve.scoring import scored
from tests.ray_serve.throughput import Measured, of_one_process, of_replica

QUICK_NODES, NODES = 2, 3
console = Console(highlight=False, soft_wrap=True, width=120)


def main(*, quick: bool, place: Path) -> None:
    """Run all checks, or the quick ones."""
    replicas = QUICK_NODES if quick else NODES
    measured: dict[str, Measured] = {}
    models = write_models(place / "models")
    with started(free_port(), nodes=replicas) as nodes:
        nodes.deploy(models, groups=[{"replicas": replicas}])
        _check("answers", lambda: same_answers(nodes, models))
        _check("administrators", lambda: refused_commands(nodes))
        _check("metrics", lambda: summed_metrics(nodes))
        _check("new version", lambda: published(nodes, models))
        _check("update", lambda: updated(nodes, models, replicas=replicas))
        _check("death of a node", lambda: died(nodes, replicas=replicas))
        if quick:
            return
        _check("autoscaling", lambda: scaled_up(nodes, models, most=replicas))
        _check("groups", lambda: same_answers_of_groups(nodes, models))
        measured["Ray Serve, its own proxy"] = of_replica(nodes)
        nodes.clear()
        _check("scoring", lambda: scored(nodes, models, place))
    with started(free_port(), nodes=replicas, environment=haproxy()) as nodes:
        measured["Ray Serve, HAProxy"] = of_replica(nodes)
        nodes.deploy(models, groups=[{"replicas": replicas}])
        _check("HAProxy: answers", lambda: same_answers(nodes, models))
        _check("HAProxy: update", lambda: updated(nodes, models, replicas=replicas))
        _check("HAProxy: death of a node", lambda: died(nodes, replicas=replicas, at_once=False))
    _show({"one process of `app serve`": of_one_process(), **measured})


def _check(name: str, run: Callable[[], str]) -> None:
    began = time.monotonic()
    console.print(f"{name}: {run()} ({time.monotonic() - began:.0f} s)")


def _show(measured: dict[str, Measured]) -> None:
    heads = ("one replica", "requests/s, 32 clients", "ms, one client", "µs: proxy", "replica", "rest of Ray")
    table = Table(*heads[:1], title="One image as JSON")
    for head in heads[1:]:
        table.add_column(head, justify="right")
    for title, each in measured.items():
        table.add_row(*each.row(title))
    console.print(table)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as directory:
        main(quick="--quick" in sys.argv[1:], place=Path(directory))
