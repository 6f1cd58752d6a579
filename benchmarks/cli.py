"""Command line of the benchmarks. Run nothing else meanwhile."""

import json
from dataclasses import asdict
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from statistics import median
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from benchmarks.hot_path import STAGES, measure_hot_path
from benchmarks.lstm import compare_lstm
from benchmarks.machine import describe
from benchmarks.reload import SETTLED_AFTER, measure_reloads
from benchmarks.startup import measure_startup

RESULTS = Path(__file__).parent / "results"

SLOPE_LIMIT_MB = 0.5

cli = typer.Typer(help="Measure Atelier on this machine.", no_args_is_help=True, add_completion=False)


@cli.callback()
def commands() -> None:
    """Measure Atelier on this machine."""


@cli.command()
def startup(
    models: Annotated[Path, typer.Option(help="Models directory.")] = Path("models"),
    repeats: Annotated[int, typer.Option(min=1, help="Starts.")] = 7,
) -> None:
    """Seconds until ready and resident memory with all models loaded; median over several starts."""
    starts = [measure_startup(models) for _ in range(repeats)]
    names = sorted(path.name for path in models.iterdir() if path.is_dir())
    summary = {
        "ready_s": _spread([start.ready_s for start in starts]),
        "resident_mb": _spread([start.resident_mb for start in starts]),
    }
    table = Table("figure", "minimum", "median", "maximum", title=f"{len(names)} models: {', '.join(names)}")
    for name, values in summary.items():
        table.add_row(name, *(f"{value:.2f}" for value in values.values()))
    Console().print(table)
    write_result("startup", {"models": names, "summary": summary, "starts": [asdict(start) for start in starts]})


@cli.command()
def lstm(repeats: Annotated[int, typer.Option(min=1, help="Repeats of each pair.")] = 9) -> None:
    """Masked LSTM as the fused ONNX operator, against the converter's loop. Needs `make train-install`."""
    found = compare_lstm(repeats=repeats)
    table = Table("network", "rows", "tokens", "loop, ms", "fused, ms", "times faster", "range")
    for one in found:
        figures = (f"{one.loop_ms:.2f}", f"{one.fused_ms:.2f}", f"{one.ratio:.1f}", f"{one.low:.1f} to {one.high:.1f}")
        table.add_row(one.network, str(one.rows), str(one.tokens), *figures)
    Console().print(table)
    write_result("lstm", {"repeats": repeats, "comparisons": [asdict(one) for one in found]})


@cli.command()
def serving(
    only: Annotated[str, typer.Option(help="Servers, between commas, e.g. atelier,floor [default: all].")] = "",
    workloads: Annotated[str, typer.Option(help="Workloads, between commas [default: all].")] = "",
    seconds: Annotated[float, typer.Option(min=1, help="Of each measurement, after a warm-up.")] = 3,
    repeats: Annotated[int, typer.Option(min=1, help="Of everything, in another order each time.")] = 3,
    models: Annotated[Path, typer.Option(help="Models directory.")] = Path("models"),
    name: Annotated[str, typer.Option(help="Of the results: benchmarks/results/NAME.json and NAME.png.")] = "serving",
) -> None:
    """Atelier beside other model servers, as ratios to a bare ASGI application. Needs wrk and two cores.

    The first run installs the peers, each in its own environment under runs/benchmarks/ (2 GB). Servers get the first
    core, load generators the second.
    """
    from benchmarks.serving.command import run_serving
    from benchmarks.serving.errors import Unavailable

    try:
        run_serving(
            only=only,
            workloads=workloads,
            seconds=seconds,
            repeats=repeats,
            models=models,
            picture=RESULTS / f"{name}.png",
            write=partial(write_result, name),
        )
    except Unavailable as error:
        raise typer.BadParameter(str(error)) from error


@cli.command()
def reload(
    version: Annotated[Path, typer.Option(help="The published version whose copies are loaded.")] = Path(
        "models/fashion-mnist-mlp/1"
    ),
    reloads: Annotated[int, typer.Option(min=1, help="How often.")] = 100,
    rate: Annotated[float, typer.Option(min=1, help="Requests in a second meanwhile.")] = 300,
) -> None:
    """Hot reloads under constant load: requests lost (none may be), latency, memory after each."""
    try:
        found = measure_reloads(version, reloads=reloads, rate_per_s=rate)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    table = Table("figure", "measured", "limit", title=f"{reloads} reloads at {rate:g} requests/s")
    table.add_row("requests answered with 200", str(found.codes.get(200, 0)), "")
    table.add_row("requests lost", str(found.lost), "0")
    table.add_row(f"memory per reload after the {SETTLED_AFTER}th, MB", f"{found.slope_mb:.3f}", f"{SLOPE_LIMIT_MB}")
    table.add_row("memory at the end, MB", f"{found.resident_mb[-1]:.0f}", "")
    table.add_row("a reload, median, s", f"{median(found.reload_s):.2f}", "")
    table.add_row("request p50, ms", f"{found.p50_ms:.2f}", "")
    table.add_row("request p99, ms", f"{found.p99_ms:.2f}", "")
    for name, (before, after) in (("descriptors", found.descriptors), ("threads", found.threads)):
        table.add_row(f"{name} before and after", f"{before}, {after}", "")
    Console().print(table)
    figures = asdict(found) | {"slope_mb": found.slope_mb, "lost": found.lost}
    write_result("reload", {"reloads": reloads, "rate_per_s": rate, **figures})
    if found.lost or found.slope_mb >= SLOPE_LIMIT_MB:
        raise typer.Exit(1)


@cli.command(name="hot-path")
def hot_path(
    models: Annotated[Path, typer.Option(help="Models directory.")] = Path("models"),
    repeats: Annotated[int, typer.Option(min=1, help="Of everything, after one that does not count.")] = 5,
) -> None:
    """Microseconds of one request inside the application, by form and stage; no sockets."""
    budgets = measure_hot_path(models, repeats=repeats)
    table = Table("one request as", "concurrency", "processor, µs", *(f"{stage}, µs" for stage in STAGES))
    for one in budgets:
        stages = (f"{value:.1f}" for value in one.stages.values())
        table.add_row(one.form, str(one.concurrency), f"{one.total:.1f}", *stages)
    Console(width=120).print(table)
    write_result("hot-path", {"repeats": repeats, "budgets": [asdict(one) for one in budgets]})


def write_result(name: str, result: dict[str, object]) -> None:
    """Write benchmarks/results/NAME.json with the date and the machine."""
    RESULTS.mkdir(exist_ok=True)
    document = {"date": datetime.now(UTC).date().isoformat(), "machine": describe(), **result}
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    Console().print(f"written: {path}")


def _spread(values: list[float]) -> dict[str, float]:
    return {"minimum": min(values), "median": median(values), "maximum": max(values)}
