"""Command line of the benchmarks. Run nothing else meanwhile."""

import json
from dataclasses import asdict
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from benchmarks.hot_path import STAGES, measure_hot_path
from benchmarks.lstm import compare_lstm
from benchmarks.machine import describe
from benchmarks.startup import measure_startup

if TYPE_CHECKING:
    from benchmarks.gpu import Comparison

RESULTS = Path(__file__).parent / "results"

cli = typer.Typer(help="Measure Atelier on this machine.", no_args_is_help=True, add_completion=False)


@cli.callback()
def commands() -> None:
    """Measure Atelier on this machine."""


@cli.command()
def startup(
    models: Annotated[Path, typer.Option("--models-dir", help="Models directory.")] = Path("models"),
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
    models: Annotated[Path, typer.Option("--models-dir", help="Models directory.")] = Path("models"),
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
    models: Annotated[Path, typer.Option("--models-dir", help="Models directory; it is copied.")] = Path("models"),
    only: Annotated[str, typer.Option(help="Models, between commas [default: all with one input].")] = "",
    reloads: Annotated[int, typer.Option(min=1, help="How often, all models together.")] = 500,
    rate: Annotated[float, typer.Option(min=1, help="Good requests in a second meanwhile.")] = 100.0,
    pause: Annotated[float, typer.Option(min=0, help="Seconds between two reloads.")] = 0.0,
) -> None:
    """Hot reloads under mixed load: requests lost (none may be), wrong answers, latency, memory after each."""
    from benchmarks.reload import SETTLED_AFTER, Rates, measure_reloads
    from benchmarks.reload_report import reload_document, reload_table
    from benchmarks.soak.run import newest_versions

    if reloads < SETTLED_AFTER + 10:
        raise typer.BadParameter(f"--reloads {reloads}: memory is judged after the first {SETTLED_AFTER}")
    versions = [each for each in newest_versions(models) if not only or each.parent.name in only.split(",")]
    if not versions:
        raise typer.BadParameter(f"no model of {models} has one input and is among {only!r}")
    found = measure_reloads(versions, reloads=reloads, rates=Rates(good=rate), pause_s=pause)
    Console(width=120).print(reload_table(found, versions, rate_per_s=rate))
    write_result("reload", reload_document(found, versions, rate_per_s=rate, pause_s=pause))
    for fault in found.faults:
        typer.echo(f"error: {fault}", err=True)
    if found.faults:
        raise typer.Exit(1)


@cli.command()
def soak(
    models: Annotated[Path, typer.Option("--models-dir", help="Models directory; it is copied.")] = Path("models"),
    minutes: Annotated[float, typer.Option(min=0.1, help="In all.")] = 30,
    warm_up: Annotated[float, typer.Option(min=0, help="Minutes of them that do not count.")] = 10,
    rate: Annotated[float, typer.Option(min=1, help="Good requests in a second.")] = 60,
    change_every: Annotated[float, typer.Option(min=0.1, help="Seconds between two reloads or canary moves.")] = 3,
    slope: Annotated[float, typer.Option(help="MB an hour that memory may grow by.")] = 5,
    output: Annotated[Path, typer.Option(help="The JSON document; a picture beside it.")] = Path("runs/soak.json"),
) -> None:
    """Mixed load, bad requests, clients that leave, reloads and canary moves: does memory, or anything, grow?"""
    from benchmarks.soak.report import table_of, write
    from benchmarks.soak.run import Plan, newest_versions
    from benchmarks.soak.run import soak as run_soak

    if warm_up >= minutes:
        raise typer.BadParameter(f"--warm-up {warm_up:g} leaves nothing of --minutes {minutes:g}")
    plan = Plan(
        seconds=60 * minutes, warm_up_s=60 * warm_up, good_per_s=rate, change_s=change_every, memory_mb_per_h=slope
    )
    found = run_soak(newest_versions(models), plan)
    Console(width=140).print(table_of(found))
    for path in write(found, output):
        Console().print(f"written: {path}")
    for fault in found.faults:
        typer.echo(f"error: {fault}", err=True)
    if found.faults:
        raise typer.Exit(1)


@cli.command()
def chaos(
    models: Annotated[Path, typer.Option("--models-dir", help="Models directory; it is copied.")] = Path("models"),
    only: Annotated[str, typer.Option(help="Names of scenarios, comma-separated; all if empty.")] = "",
) -> None:
    """Killed workers, slow and vanishing clients, no descriptors, a clock that jumps: is everybody else answered?"""
    from benchmarks.chaos.run import run_chaos
    from benchmarks.soak.run import newest_versions

    names = [name for name in only.split(",") if name]
    told = Console(stderr=True).print
    found = list(run_chaos(newest_versions(models), names, told=told))
    table = Table("scenario", "expected", "measured", "as expected")
    for one in found:
        table.add_row(one.name, one.expected, one.measured, "; ".join(one.faults) or "yes")
    Console(width=140).print(table)
    write_result("chaos", {"scenarios": [asdict(one) for one in found]})
    if any(one.faults for one in found):
        raise typer.Exit(1)


@cli.command()
def honesty(
    models: Annotated[Path, typer.Option("--models-dir", help="Models directory; it is copied.")] = Path("models"),
    answers: Annotated[int, typer.Option(min=1, help="Answers to check.")] = 1_000_000,
    workers: Annotated[int, typer.Option(min=1, help="Worker processes.")] = 2,
    minutes: Annotated[float, typer.Option(min=0.1, help="At most.")] = 60,
) -> None:
    """Answers over all protocols as fast as they come, with workers, reloads and bad requests: is one of them wrong?"""
    from benchmarks.soak.report import table_of
    from benchmarks.soak.run import Plan, newest_versions
    from benchmarks.soak.run import soak as run_soak

    unlimited = 100_000.0
    found = run_soak(
        newest_versions(models),
        Plan(
            seconds=60 * minutes,
            warm_up_s=0,
            good_per_s=unlimited,
            grpc_per_s=100,
            answers=answers,
            flags=("--workers", str(workers)),
        ),
    )
    console = Console(width=140)
    console.print(table_of(found))
    tally = found.tally
    checked, wrong = tally.codes[200], sum(tally.wrong.values())
    console.print(f"{checked:,} answers checked, {wrong} wrong, {tally.lost} good requests without an answer")
    for fault in found.faults:
        typer.echo(f"error: {fault}", err=True)
    if found.faults:
        raise typer.Exit(1)


@cli.command(name="hot-path")
def hot_path(
    models: Annotated[Path, typer.Option("--models-dir", help="Models directory.")] = Path("models"),
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


@cli.command()
def gpu(
    device: Annotated[str, typer.Option(help="cuda, cuda:N, or cpu: the same on the CPU, to try this out.")] = "cuda",
    models: Annotated[Path, typer.Option("--models-dir", help="Models directory.")] = Path("models"),
    max_batch_size: Annotated[int, typer.Option(min=1, help="Largest batch.")] = 32,
    seconds: Annotated[float, typer.Option(min=0.001, help="Of each measurement.")] = 1,
    repeats: Annotated[int, typer.Option(min=1, help="Of each measurement of throughput.")] = 5,
) -> None:
    """Published models on a GPU: golden samples, latency beside the CPU's, and what IO binding gains.

    Written after each model. Ends with 1 if a model answers otherwise than Keras did or cannot be measured, and with 2
    if there is no GPU.
    """
    from app.contract.device import CPU, check_device
    from app.errors import ServingError
    from app.runtime.cuda import cuda_version
    from app.runtime.devices import probe_devices
    from app.runtime.placement import Placer
    from benchmarks.gpu import Comparison, Failure, compare_each

    found: list[Comparison] = []
    failures: list[Failure] = []
    try:
        placer = Placer(probe_devices)
        placed = placer.place(check_device(device)).device
        what = next(each.description for each in placer.devices() if each.name == placed)
        setup = {"device": placed, "description": what, "cuda": cuda_version()}
        for one in compare_each(models, placed, max_batch_size=max_batch_size, seconds=seconds, repeats=repeats):
            found.append(one) if isinstance(one, Comparison) else failures.append(one)
            Console(stderr=True).print(f"measured: {one.model}")
            if placed != CPU:
                results = {"comparisons": [asdict(each) for each in found], "failures": [asdict(f) for f in failures]}
                write_result("gpu", {**setup, **results})
    except (ServingError, ValueError) as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(2) from None
    if found:
        _print_gpu(found, placed)
    wrong = {one.model: one.mismatch for one in found if one.mismatch} | {one.model: one.error for one in failures}
    for model, why in wrong.items():
        typer.echo(f"error: {model}: {why}", err=True)
    if wrong:
        raise typer.Exit(1)


def _print_gpu(found: "list[Comparison]", device: str) -> None:
    answers = Table("model", "largest difference", "tolerance", "as Keras", title=f"golden samples on {device}")
    latency = Table("model", "on", *(f"{size} rows, ms" for size in found[0].batch_sizes), title="one call")
    rates = Table("model", "rows/s of ONNX Runtime alone", "our backend", "with bound buffers", title=f"on {device}")
    for one in found:
        answers.add_row(one.model, f"{one.difference:.2g}", f"{one.tolerance:g}", "no" if one.mismatch else "yes")
        latency.add_row(one.model, "cpu", *(f"{value:.3f}" for value in one.cpu_ms))
        latency.add_row("", device, *(f"{value:.3f}" for value in one.device_ms))
        shares = (f"{one.share(way):.2f}" for way in ("unbound", "bound"))
        rates.add_row(one.model, f"{one.rows_per_s['bare']:.0f}", *shares)
    console = Console(width=140)
    for table in (answers, latency, rates):
        console.print(table)


@cli.command()
def workers(
    models: Annotated[Path, typer.Option("--models-dir", help="Models directory.")] = Path("models"),
    number: Annotated[int, typer.Option(min=2, help="Workers, against one.")] = 2,
    seconds: Annotated[float, typer.Option(min=1, help="Of each measurement, after a warm-up.")] = 5,
    repeats: Annotated[int, typer.Option(min=1, help="Of both, in turns.")] = 7,
) -> None:
    """Requests a second of several workers against one: raw images, 32 connections. Needs wrk and two cores."""
    from benchmarks.serving.command import WORK
    from benchmarks.serving.errors import Unavailable
    from benchmarks.serving.load import require_wrk
    from benchmarks.workers import compare_workers, cores_for

    try:
        wrk, cores = require_wrk(), cores_for(number)
        found = compare_workers(models.resolve(), WORK, numbers=(1, number), seconds=seconds, repeats=repeats)
    except Unavailable as error:
        raise typer.BadParameter(str(error)) from error
    rates = {str(each): _spread(values) for each, values in found.rates.items()}
    table = Table("workers", *(f"{name}, requests/s" for name in ("minimum", "median", "maximum")))
    for name, values in rates.items():
        table.add_row(name, *(f"{value:,.0f}" for value in values.values()))
    ratio = found.ratio(1, number)
    shares = cores.load in cores.services
    Console().print(table, f"{number} workers answer {ratio:.2f} times as many as one")
    setup = {"wrk": wrk, "cores": len(cores.services), "load_shares_a_core": shares, "repeats": repeats}
    write_result("workers", {**setup, "rates_per_s": rates, "ratio_of_medians": round(ratio, 3)})


@cli.command()
def fuzz(
    executions: Annotated[int, typer.Option(min=1, help="Inputs of all decoders together.")] = 2_000_000,
    seconds: Annotated[float, typer.Option(min=0.1, help="At most so long.")] = 3_600,
    corpus: Annotated[Path, typer.Option(help="Inputs that were new once, and findings; read and added to.")] = Path(
        "runs/fuzz"
    ),
    seed: Annotated[int, typer.Option(help="Of the mutations.")] = 0,
) -> None:
    """Damaged and hostile input for every decoder. Ends with 1 if anything but a refusal or an answer comes of one."""
    from benchmarks.fuzzing.run import fuzz as run

    tallies = run(corpus, executions=executions, seconds=seconds, seed=seed)
    table = Table("decoder", "executions", "a second", "not refused", "corpus", "findings")
    for name, one in tallies.items():
        rate = one.executions / one.seconds if one.seconds else 0.0
        figures = (f"{one.executions:,}", f"{rate:,.0f}", f"{one.answered:,}", f"{one.kept:,}", str(len(one.findings)))
        table.add_row(name, *figures)
    done, spent = sum(one.executions for one in tallies.values()), sum(one.seconds for one in tallies.values())
    Console(width=120).print(table, f"{done:,} executions, {done / spent:,.0f} a second")
    found = {name: {place: str(path) for place, path in one.findings.items()} for name, one in tallies.items()}
    for name, places in found.items():
        for place, path in places.items():
            typer.echo(f"finding: {name}: {place}: {path}", err=True)
    counts = {name: {"executions": one.executions, "findings": len(one.findings)} for name, one in tallies.items()}
    write_result("fuzz", {"seed": seed, "executions": done, "seconds": round(spent, 1), "decoders": counts})
    if any(found.values()):
        raise typer.Exit(1)


@cli.command()
def overload(
    models: Annotated[Path, typer.Option("--models-dir", help="Models directory.")] = Path("models"),
    only: Annotated[str, typer.Option(help="Models, comma-separated.")] = "fashion-mnist-cnn,cats-vs-dogs-cnn",
    deadlines: Annotated[str, typer.Option(help="Default timeouts in ms, comma-separated; 0: none.")] = "0,200",
    seconds: Annotated[float, typer.Option(min=1, help="Of each load, after a warm-up.")] = 4,
    repeats: Annotated[int, typer.Option(min=1, help="Of all, in turns.")] = 3,
) -> None:
    """Half to ten times what a model can answer, in an open loop: goodput, refusals, another model. Two cores."""
    from benchmarks.overload.run import measure
    from benchmarks.serving.command import WORK

    console = Console(width=160)
    found = measure(
        models.resolve(),
        WORK,
        only.split(","),
        deadlines_ms=[int(each) for each in deadlines.split(",")],
        seconds=seconds,
        repeats=repeats,
        told=Console(stderr=True).print,
    )
    table = Table(
        *("model", "deadline", "load", "answered/s", "of C", "required", "answered p99", "refused p99", "floor p99"),
        *("other p99", "alone", "r, us", "r_floor", "others"),
        title="milliseconds where nothing else is said; C: capacity",
    )
    for point in found:
        table.add_row(
            point.model,
            f"{point.deadline_ms or 'none'}",
            f"{point.factor:g} C",
            f"{point.good_per_s:,.0f}",
            f"{point.good_per_s / point.capacity_per_s:.2f}",
            f"{point.required_per_s / point.capacity_per_s:.2f}",
            *(
                f"{value:.1f}"
                for value in (
                    *(point.answered_p99_ms, point.refused_p99_ms, point.floor_p99_ms),
                    *(point.other_p99_ms, point.other_alone_p99_ms, point.refusal_us, point.floor_us),
                )
            ),
            ", ".join(f"{n} {kind}" for kind, n in point.counts.items() if kind not in {"answered", "refused"}),
        )
    console.print(table)
    for point in found:
        for what in point.missed:
            console.print(f"missed: {point.model}, {point.deadline_ms or 'no'} deadline, {point.factor:g} C: {what}")
    write_result("overload", {"repeats": repeats, "seconds": seconds, "points": [asdict(point) for point in found]})


def write_result(name: str, result: dict[str, object]) -> None:
    """Write benchmarks/results/NAME.json with the date and the machine."""
    RESULTS.mkdir(exist_ok=True)
    document = {"date": datetime.now(UTC).date().isoformat(), "machine": describe(), **result}
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    Console().print(f"written: {path}")


def _spread(values: list[float]) -> dict[str, float]:
    return {"minimum": min(values), "median": median(values), "maximum": max(values)}
