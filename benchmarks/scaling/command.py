"""``python -m benchmarks scaling``: predict six loads from a curve, write that down, measure them, and extrapolate."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from benchmarks.results import write_result
from benchmarks.scaling.capacity import SPARE, USED_SHARE, need
from benchmarks.scaling.curve import Curve
from benchmarks.scaling.fleet import Fleet, Seen, Simulation
from benchmarks.scaling.queueing import Prediction, poisson, predict

LOADS = (0.5, 0.8, 1.2)
"""Shares of the capacity of all replicas."""
REPLICAS = (1, 2)
SKIPPED_SHARE = 0.2
RATES_PER_MINUTE = (10_000, 1_000_000, 100_000_000)
STEP_AT_S, STEP_S, DEATH_AT_S = 60.0, 240.0, 30.0
"""The load of the fleet doubles after a minute; a replica ends before that."""
FIGURES = ("rate_per_s", "p50_ms", "p99_ms")


def scaling(
    models: Annotated[Path, typer.Option("--models-dir", help="Models directory.")] = Path("models"),
    model: Annotated[str, typer.Option(help="Model of images of 28x28.")] = "fashion-mnist-cnn",
    seconds: Annotated[float, typer.Option(min=1, help="Seconds of each load, and half of it of each point.")] = 10,
    repeats: Annotated[int, typer.Option(min=1, help="Repeats of the points of the curve.")] = 3,
) -> None:
    """What one, two and many replicas carry: predicted from a curve, then measured. Requires wrk and two cores."""
    from benchmarks.scaling.measure import measure_curve, posts_of, replicas
    from benchmarks.serving.command import WORK
    from benchmarks.serving.errors import Unavailable
    from benchmarks.serving.load import require_wrk

    try:
        require_wrk()
        posts = posts_of(models.resolve(), WORK, model)
        with replicas(models.resolve(), 1) as running:
            curve = measure_curve(posts, running, seconds=max(1, seconds / 2), repeats=repeats)
        plans = {(count, share): _plan(curve, count, share, seconds) for count in REPLICAS for share in LOADS}
        predicted = {
            key: predict(due_s, curve, replicas=key[0], skipped=skipped) for key, (due_s, skipped) in plans.items()
        }
        setup = {"model": model, "curve": asdict(curve), "capacity_per_s": round(curve.capacity_per_s, 1)}
        write_result("scaling-predicted", {**setup, "predicted": _records(predicted)})
        measured = _measured(models.resolve(), posts, plans)
    except Unavailable as error:
        raise typer.BadParameter(str(error)) from error
    rows = _compared(predicted, measured)
    _print_compared(rows, curve)
    size = len(posts[0].body) + sum(len(f"{name}: {value}\r\n") for name, value in posts[0].headers.items())
    needs = [need(rate, node_per_s=curve.capacity_per_s, bytes_per_request=size + 500) for rate in RATES_PER_MINUTE]
    fleet = _fleet(curve)
    _print_extrapolated(needs, fleet)
    write_result(
        "scaling",
        {**setup, "compared": rows, "needs": [asdict(each) for each in needs], "fleet": fleet},
    )


def _plan(curve: Curve, count: int, share: float, seconds: float) -> tuple[list[float], int]:
    """When requests are due, and how many of the first do not count."""
    lasting_s = seconds * (1 + SKIPPED_SHARE)
    due_s = poisson(curve.capacity_per_s * count * share, lasting_s, seed=round(share * 100) + count)
    return due_s, sum(due < seconds * SKIPPED_SHARE for due in due_s)


def _measured(models: Path, posts: Any, plans: Mapping[tuple[int, float], Any]) -> dict[tuple[int, float], Prediction]:
    from benchmarks.scaling.measure import measure_load, replicas

    found = {}
    for count in REPLICAS:
        with replicas(models, count) as running:
            for (replica_count, share), (due_s, skipped) in plans.items():
                if replica_count == count:
                    load = measure_load(posts, running, due_s, skipped=skipped)
                    found[count, share] = Prediction(load.rate_per_s, load.p50_ms, load.p99_ms)
    return found


def _records(predicted: Mapping[tuple[int, float], Prediction]) -> list[dict[str, Any]]:
    return [{"replicas": count, "load": share, **asdict(each)} for (count, share), each in predicted.items()]


def _compared(
    predicted: Mapping[tuple[int, float], Prediction], measured: Mapping[tuple[int, float], Prediction]
) -> list[dict[str, Any]]:
    """The error of a figure is measured / predicted - 1."""
    rows = []
    for (count, share), expected in predicted.items():
        found = asdict(measured[count, share])
        errors = {name: round(found[name] / value - 1, 3) for name, value in asdict(expected).items()}
        rows.append(
            {"replicas": count, "load": share, "predicted": asdict(expected), "measured": found, "errors": errors}
        )
    return rows


def _fleet(curve: Curve) -> dict[str, Any]:
    """Ten replicas at half their capacity: one ends, then the load doubles; with and without an autoscaler."""
    base_per_s = 10 * curve.capacity_per_s * 0.5
    found: dict[str, Any] = {}
    for name, target in (("fixed", None), ("autoscaler", 4.0)):
        simulation = Simulation(
            Fleet(replicas=10, most=40, target=target),
            curve,
            lambda now: base_per_s * (2 if now >= STEP_AT_S else 1),
            seconds=STEP_S,
            deaths=(DEATH_AT_S,),
            seed=1,
        )
        found[name] = _summary(simulation.run())
    return found


def _summary(seen: Seen) -> dict[str, Any]:
    parts = {}
    for name, begin, end in (
        ("before", 0.0, DEATH_AT_S),
        ("replica dead", DEATH_AT_S, STEP_AT_S),
        ("first minute of the double load", STEP_AT_S, STEP_AT_S + 60),
        ("last minute", STEP_S - 60, STEP_S),
    ):
        latencies = sorted(seconds for due, seconds in seen.latencies_s if begin <= due < end)
        lost = {
            kind: sum(begin <= when < end for when in times)
            for kind, times in (("refused", seen.refused), ("failed", seen.failed))
        }
        parts[name] = {
            "answered": len(latencies),
            **lost,
            "p50_ms": round(latencies[len(latencies) // 2] * 1e3, 2),
            "p99_ms": round(latencies[int(len(latencies) * 0.99)] * 1e3, 2),
            "replicas": [size for when, size in seen.sizes if when < end][-1],
        }
    return parts


def _print_compared(rows: list[dict[str, Any]], curve: Curve) -> None:
    table = Table("replicas", "load", *FIGURES, title=f"capacity of one replica {curve.capacity_per_s:,.0f}/s")
    for row in rows:
        cells = [
            f"{row['predicted'][name]:,.2f} → {row['measured'][name]:,.2f} ({row['errors'][name]:+.0%})"
            for name in FIGURES
        ]
        table.add_row(str(row["replicas"]), f"{row['load']:.0%}", *cells)
    Console().print(table, "predicted → measured (error)")


def _print_extrapolated(needs: list[Any], fleet: Mapping[str, Any]) -> None:
    table = Table(
        "requests a minute", "nodes", "Gbit/s", title=f"{USED_SHARE:.0%} of the capacity of a core, {SPARE} node spare"
    )
    for each in needs:
        table.add_row(f"{each.per_minute:,.0f}", f"{each.nodes:,}", f"{each.gbit_per_s:.3f}")
    Console().print(table)
    for name, parts in fleet.items():
        table = Table("part", *next(iter(parts.values())), title=f"ten replicas, {name} (simulated)")
        for part, figures in parts.items():
            table.add_row(part, *(f"{value:,}" for value in figures.values()))
        Console().print(table)
