"""Reliability commands: reloads, soak, faults, hostile input, overload."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from benchmarks.results import write_result


def reload(
    models: Annotated[Path, typer.Option("--models-dir", help="Models directory; it is copied.")] = Path("models"),
    only: Annotated[str, typer.Option(help="Models, separated by commas [default: all with one input].")] = "",
    reloads: Annotated[int, typer.Option(min=1, help="Number of reloads, all models together.")] = 500,
    rate: Annotated[float, typer.Option(min=1, help="Good requests per second at the same time.")] = 100.0,
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
    _end_with(found.faults)


def soak(
    models: Annotated[Path, typer.Option("--models-dir", help="Models directory; it is copied.")] = Path("models"),
    minutes: Annotated[float, typer.Option(min=0.1, help="Minutes in total.")] = 30,
    warm_up: Annotated[float, typer.Option(min=0, help="Minutes at the start that do not count.")] = 10,
    rate: Annotated[float, typer.Option(min=1, help="Good requests per second.")] = 60,
    change_every: Annotated[float, typer.Option(min=0.1, help="Seconds between two reloads or canary moves.")] = 3,
    slope: Annotated[float, typer.Option(help="Largest growth of memory, in MB per hour.")] = 5,
    output: Annotated[Path, typer.Option(help="JSON document; a picture is written next to it.")] = Path(
        "runs/soak.json"
    ),
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
    _end_with(found.faults)


def honesty(
    models: Annotated[Path, typer.Option("--models-dir", help="Models directory; it is copied.")] = Path("models"),
    answers: Annotated[int, typer.Option(min=1, help="Answers to check.")] = 1_000_000,
    workers: Annotated[int, typer.Option(min=1, help="Worker processes.")] = 2,
    minutes: Annotated[float, typer.Option(min=0.1, help="Most minutes.")] = 60,
) -> None:
    """Check answers over all protocols at full speed, with workers, reloads and bad requests: is one of them wrong?"""
    from benchmarks.soak.report import table_of
    from benchmarks.soak.run import Plan, newest_versions
    from benchmarks.soak.run import soak as run_soak

    found = run_soak(
        newest_versions(models),
        Plan(
            seconds=60 * minutes,
            warm_up_s=0,
            good_per_s=None,
            grpc_per_s=None,
            answers=answers,
            flags=("--workers", str(workers)),
        ),
    )
    console = Console(width=140)
    console.print(table_of(found))
    tally = found.tally
    checked, wrong = tally.codes[200], sum(tally.wrong.values())
    console.print(f"{checked:,} answers checked, {wrong} wrong, {tally.lost} good requests without an answer")
    _end_with(found.faults)


def chaos(
    models: Annotated[Path, typer.Option("--models-dir", help="Models directory; it is copied.")] = Path("models"),
    only: Annotated[str, typer.Option(help="Names of scenarios, separated by commas; all if empty.")] = "",
) -> None:
    """Killed workers, slow and vanishing clients, no descriptors, a clock that jumps: are all others answered?"""
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


def fuzz(
    executions: Annotated[int, typer.Option(min=1, help="Inputs of all decoders together.")] = 2_000_000,
    seconds: Annotated[float, typer.Option(min=0.1, help="Most seconds.")] = 3_600,
    corpus: Annotated[Path, typer.Option(help="Directory of earlier inputs and findings; read and extended.")] = Path(
        "runs/fuzz"
    ),
    seed: Annotated[int, typer.Option(help="Seed of the mutations.")] = 0,
) -> None:
    """Damaged and hostile input for every decoder. Exit code 1 if a decoder neither refuses nor answers an input."""
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


def overload(
    models: Annotated[Path, typer.Option("--models-dir", help="Models directory.")] = Path("models"),
    only: Annotated[str, typer.Option(help="Models, separated by commas.")] = "fashion-mnist-cnn,cats-vs-dogs-cnn",
    loads: Annotated[str, typer.Option(help="Multiples of the capacity, separated by commas.")] = "0.5,1,2,5,10",
    deadlines: Annotated[str, typer.Option(help="Default timeouts in ms, separated by commas; 0: none.")] = "0,200",
    queues: Annotated[str, typer.Option(help="Values of max_queue_s, separated by commas.")] = "1",
    seconds: Annotated[float, typer.Option(min=1, help="Seconds of each load, after a warm-up.")] = 4,
    repeats: Annotated[int, typer.Option(min=1, help="Repeats of all, in turns.")] = 3,
) -> None:
    """Half to ten times a model's capacity, in an open loop: goodput, refusals, another model. Requires two cores."""
    from benchmarks.overload.run import measure
    from benchmarks.serving.command import WORK

    console = Console(width=160)
    found = measure(
        models.resolve(),
        WORK,
        only.split(","),
        loads=[float(each) for each in loads.split(",")],
        deadlines_ms=[int(each) for each in deadlines.split(",")],
        queues_s=[float(each) for each in queues.split(",")],
        seconds=seconds,
        repeats=repeats,
        told=Console(stderr=True).print,
    )
    table = Table(
        *(
            "model",
            "deadline",
            "queue, s",
            "load",
            "answered/s",
            "of C",
            "required",
            "answered p99",
            "refused p99",
            "floor p99",
        ),
        *("other p99", "alone", "r, us", "r_floor", "others"),
        title="milliseconds unless stated otherwise; C: capacity",
    )
    for point in found:
        table.add_row(
            point.model,
            f"{point.deadline_ms or 'none'}",
            f"{point.max_queue_s:g}",
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


def stopping(
    models: Annotated[Path, typer.Option("--models-dir", help="Models directory.")] = Path("models"),
    clients: Annotated[int, typer.Option(min=1, help="Clients that never pause.")] = 24,
    runs: Annotated[int, typer.Option(min=1, help="Stops of each kind of service.")] = 5,
) -> None:
    """SIGTERM under load, without a load balancer: which clients get no answer to their last request."""
    from benchmarks.stopping import stop_under_load

    table = Table("service", "stop", "answered", "clients told", "lost", "refused", "failed")
    document = []
    for arguments in ((), ("--workers", "2")):
        for number in range(1, runs + 1):
            found = stop_under_load(models, arguments, clients=clients)
            table.add_row(" ".join(arguments) or "one process", str(number), *map(str, asdict(found).values()))
            document.append({"arguments": arguments, **asdict(found)})
    Console(width=120).print(table)
    write_result("stopping", {"clients": clients, "stops": document})


def _end_with(faults: Sequence[str]) -> None:
    """Print the faults, if there are any, and end with 1."""
    for fault in faults:
        typer.echo(f"error: {fault}", err=True)
    if faults:
        raise typer.Exit(1)
