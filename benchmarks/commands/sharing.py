"""Commands about what requests share: workers, connections, and the time that explanations take."""

from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from benchmarks.results import spread, write_result


def workers(
    models: Annotated[Path, typer.Option("--models-dir", help="Models directory.")] = Path("models"),
    number: Annotated[int, typer.Option(min=2, help="Number of workers, compared with one.")] = 2,
    seconds: Annotated[float, typer.Option(min=1, help="Seconds of each measurement, after a warm-up.")] = 5,
    repeats: Annotated[int, typer.Option(min=1, help="Repeats of both, in turns.")] = 7,
) -> None:
    """Requests per second of several workers against one: raw images, 32 connections. Requires wrk and two cores."""
    from benchmarks.serving.command import WORK
    from benchmarks.serving.errors import Unavailable
    from benchmarks.serving.load import require_wrk
    from benchmarks.workers import compare_workers, cores_for

    try:
        wrk, cores = require_wrk(), cores_for(number)
        found = compare_workers(models.resolve(), WORK, numbers=(1, number), seconds=seconds, repeats=repeats)
    except Unavailable as error:
        raise typer.BadParameter(str(error)) from error
    rates = {str(each): spread(values) for each, values in found.rates.items()}
    table = Table("workers", *(f"{name}, requests/s" for name in ("minimum", "median", "maximum")))
    for name, values in rates.items():
        table.add_row(name, *(f"{value:,.0f}" for value in values.values()))
    ratio = found.ratio(1, number)
    shares = cores.load in cores.services
    Console().print(table, f"{number} workers answer {ratio:.2f} times as many as one")
    setup = {"wrk": wrk, "cores": len(cores.services), "load_shares_a_core": shares, "repeats": repeats}
    write_result("workers", {**setup, "rates_per_s": rates, "ratio_of_medians": round(ratio, 3)})


def explain(
    models: Annotated[Path, typer.Option("--models-dir", help="Models directory.")] = Path("models"),
    model: Annotated[str, typer.Option(help="Model of images of 28x28.")] = "fashion-mnist-cnn",
    method: Annotated[str, typer.Option(help="occlusion or shapley.")] = "occlusion",
    seconds: Annotated[float, typer.Option(min=1, help="Seconds of each measurement.")] = 8,
    repeats: Annotated[int, typer.Option(min=1, help="Repeats of both, in turns.")] = 7,
) -> None:
    """Predictions at half the maximum rate, alone and beside 100 explanations. Requires wrk and two cores."""
    from benchmarks.explaining import EXPLAINED, measure_explaining
    from benchmarks.serving.command import WORK
    from benchmarks.serving.errors import Unavailable
    from benchmarks.serving.load import require_wrk

    try:
        require_wrk()
        found = measure_explaining(models.resolve(), WORK, name=model, method=method, seconds=seconds, repeats=repeats)
    except Unavailable as error:
        raise typer.BadParameter(str(error)) from error
    table = Table(f"{model}, {method}", "minimum", "median", "maximum")
    rows = {
        "p99 alone, ms": found.alone_ms,
        "p99 beside explanations, ms": found.beside_ms,
        f"{EXPLAINED} explanations beside predictions, s": found.seconds,
    }
    for name, values in rows.items():
        table.add_row(name, *(f"{value:.2f}" for value in spread(values).values()))
    Console().print(table)
    Console().print(
        f"{found.rate_per_s:,.0f} predictions a second; p99 {found.added_ms:+.2f} ms beside explanations; "
        f"{EXPLAINED} explanations without predictions: {found.alone_s:.2f} s"
    )
    write_result(f"explain-{model}-{method}", {"repeats": repeats, **asdict(found), "added_ms": found.added_ms})


def connections(
    models: Annotated[Path, typer.Option("--models-dir", help="Models directory.")] = Path("models"),
    number: Annotated[int, typer.Option(min=2, help="Workers.")] = 2,
    repeats: Annotated[int, typer.Option(min=1, help="Of each number of connections.")] = 20,
) -> None:
    """Connections of the busiest worker: by the counts that workers share, and if the kernel chose (SO_REUSEPORT)."""
    from benchmarks.connection_spread import APART_S, NUMBERS, measure_spread

    found = [
        (apart_s, each)
        for apart_s in APART_S
        for each in measure_spread(models, workers=number, numbers=NUMBERS, repeats=repeats, pause_s=apart_s)
    ]
    table = Table("opened", "connections", "even", "counts: median", "worst", "kernel: median", "worst")
    for apart_s, one in found:
        figures = [text for way in (one.counted, one.kernel) for text in (f"{median(way):g}", str(max(way)))]
        opened = f"{1e3 * apart_s:g} ms apart" if apart_s else "at once"
        table.add_row(opened, str(one.connections), f"{one.connections / number:g}", *figures)
    Console().print(table)
    document = [{"apart_s": apart_s, **asdict(one)} for apart_s, one in found]
    write_result("connections", {"workers": number, "repeats": repeats, "spreads": document})
