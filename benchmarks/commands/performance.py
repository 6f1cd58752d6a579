"""Performance commands: starts, one request, many requests, GPUs, workers."""

from dataclasses import asdict
from functools import partial
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from benchmarks.hot_path import STAGES, measure_hot_path
from benchmarks.lstm import compare_lstm
from benchmarks.results import RESULTS, spread, write_result
from benchmarks.startup import COPIED, WAYS, Startup, bare_copies, measure_startup
from benchmarks.training_epoch import compare_training

if TYPE_CHECKING:
    from benchmarks.gpu import Comparison


_BARE_FIGURES = ("ready_s", "loaded", "resident_mb", "estimated_mb")


def startup(
    models: Annotated[Path, typer.Option("--models-dir", help="Models directory.")] = Path("models"),
    repeats: Annotated[int, typer.Option(min=1, help="Starts.")] = 7,
    bare: Annotated[
        int, typer.Option(min=0, help="Serve that many copies of one graph without model.json instead.")
    ] = 0,
) -> None:
    """Seconds until ready and resident memory with all models loaded; median over several starts."""
    if bare:
        _startup_bare(models, repeats, bare)
        return
    starts = [measure_startup(models, uses=True) for _ in range(repeats)]
    names = sorted(path.name for path in models.iterdir() if path.is_dir())
    summary = {
        "ready_s": spread([start.ready_s for start in starts]),
        "resident_mb": spread([start.resident_mb for start in starts]),
        "used_mb": spread([start.used_mb for start in starts]),
        "estimated_mb": spread([start.estimated_mb for start in starts]),
    }
    table = Table("figure", "minimum", "median", "maximum", title=", ".join(names))
    for name, values in summary.items():
        table.add_row(name, *(f"{value:.2f}" for value in values.values()))
    Console().print(table)
    write_result("startup", {"models": names, "summary": summary, "starts": [asdict(start) for start in starts]})


def _startup_bare(models: Path, repeats: int, count: int) -> None:
    """Every way to start with many models, interleaved."""
    ways: dict[str, list[Startup]] = {way: [] for way in WAYS}
    with bare_copies(models, count) as place:
        for _ in range(repeats):
            for way, flags in WAYS.items():
                ways[way].append(measure_startup(place, *flags))
    table = Table("way", "ready, s", "loaded", "resident, MB", "estimate, MB", title=f"{count} copies of {COPIED}")
    for way, starts in ways.items():
        figures = [spread([getattr(start, name) for start in starts])["median"] for name in _BARE_FIGURES]
        table.add_row(way, f"{figures[0]:.2f}", *(f"{figure:.0f}" for figure in figures[1:]))
    Console().print(table)
    found = {way: [asdict(start) for start in starts] for way, starts in ways.items()}
    write_result("startup-bare", {"copies": count, "of": COPIED, "ways": found})


def lstm(repeats: Annotated[int, typer.Option(min=1, help="Repeats of each pair.")] = 9) -> None:
    """Masked LSTM and GRU as fused ONNX operators, against the converter's loops. Requires `make train-install`."""
    found = compare_lstm(repeats=repeats)
    table = Table("network", "rows", "tokens", "loop, ms", "fused, ms", "times faster", "range")
    for one in found:
        figures = (f"{one.loop_ms:.2f}", f"{one.fused_ms:.2f}", f"{one.ratio:.1f}", f"{one.low:.1f} to {one.high:.1f}")
        table.add_row(one.network, str(one.rows), str(one.tokens), *figures)
    Console().print(table)
    write_result("lstm", {"repeats": repeats, "comparisons": [asdict(one) for one in found]})


def training_epoch(
    recipe: Annotated[str, typer.Option(help="A recipe of images with Adam.")] = "fashion-mnist-mlp-128",
    repeats: Annotated[int, typer.Option(min=1, help="Repeats of all ways, interleaved.")] = 5,
    rows: Annotated[int, typer.Option(min=1000, help="Training rows of an epoch.")] = 55_000,
) -> None:
    """Epochs of a run against plain Keras `fit` with NumPy arrays. Requires `make train-install` and the data set."""
    found = compare_training(recipe, repeats=repeats, rows=rows)
    table = Table("way", "epoch, s", "times faster", "range", title=recipe)
    for way in found:
        table.add_row(way.name, f"{way.epoch_s:.2f}", f"{way.ratio:.2f}", f"{way.low:.2f} to {way.high:.2f}")
    Console().print(table)
    result = {"recipe": recipe, "rows": rows, "repeats": repeats, "ways": [asdict(way) for way in found]}
    write_result("training-epoch", result)


def serving(
    only: Annotated[str, typer.Option(help="Servers, separated by commas, e.g. atelier,floor [default: all].")] = "",
    workloads: Annotated[str, typer.Option(help="Workloads, separated by commas [default: all].")] = "",
    seconds: Annotated[float, typer.Option(min=1, help="Seconds of each measurement, after a warm-up.")] = 3,
    repeats: Annotated[int, typer.Option(min=1, help="Repeats of everything, in another order each time.")] = 3,
    models: Annotated[Path, typer.Option("--models-dir", help="Models directory.")] = Path("models"),
    triton: Annotated[
        Path | None,
        typer.Option(
            help="An installed Triton to measure too: directory with bin/tritonserver and backends/onnxruntime.",
            show_default=False,
        ),
    ] = None,
    name: Annotated[str, typer.Option(help="NAME of benchmarks/results/NAME.json and NAME.png.")] = "serving",
) -> None:
    """Atelier compared with other model servers, as ratios to a bare ASGI application. Requires wrk and two cores.

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
            triton=triton,
            picture=RESULTS / f"{name}.png",
            write=partial(write_result, name),
        )
    except Unavailable as error:
        raise typer.BadParameter(str(error)) from error


def hot_path(
    models: Annotated[Path, typer.Option("--models-dir", help="Models directory.")] = Path("models"),
    repeats: Annotated[int, typer.Option(min=1, help="Repeats of everything, after one that does not count.")] = 5,
) -> None:
    """Microseconds of one request inside the application, by form and stage; no sockets."""
    budgets = measure_hot_path(models, repeats=repeats)
    table = Table("one request as", "way", "concurrency", "processor, µs", *(f"{stage}, µs" for stage in STAGES))
    for one in budgets:
        stages = (f"{value:.1f}" for value in one.stages.values())
        table.add_row(one.form, one.way, str(one.concurrency), f"{one.total:.1f}", *stages)
    Console(width=120).print(table)
    write_result("hot-path", {"repeats": repeats, "budgets": [asdict(one) for one in budgets]})


def gpu(
    device: Annotated[str, typer.Option(help="cuda, cuda:N, or cpu to try the command on the CPU.")] = "cuda",
    models: Annotated[Path, typer.Option("--models-dir", help="Models directory.")] = Path("models"),
    max_batch_size: Annotated[int, typer.Option(min=1, help="Largest batch.")] = 32,
    seconds: Annotated[float, typer.Option(min=0.001, help="Seconds of each measurement.")] = 1,
    repeats: Annotated[int, typer.Option(min=1, help="Repeats of each measurement of throughput.")] = 5,
) -> None:
    """Published models on a GPU: golden samples, latency compared with the CPU's, and the gain from IO binding.

    The result is written after each model. Exit code 1 if the answers of a model differ from Keras's or it cannot be
    measured, 2 if there is no GPU.
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


def model_infer(
    models: Annotated[Path, typer.Option("--models-dir", help="Models directory.")] = Path("models"),
    seconds: Annotated[float, typer.Option(min=0.1, help="Seconds of a window; perf_analyzer takes three.")] = 1.0,
    repeats: Annotated[int, typer.Option(min=1, help="Repeats of everything, in another order each time.")] = 5,
) -> None:
    """One image a call over gRPC, against a bare servicer of grpcio. Requires `make perf-analyzer` and two cores."""
    from benchmarks.model_infer import ATELIER, CONCURRENCIES, FLOOR, measure, ratio
    from benchmarks.serving.command import WORK
    from benchmarks.serving.errors import Unavailable

    try:
        points = measure(models.resolve(), WORK, seconds=seconds, repeats=repeats)
    except Unavailable as error:
        raise typer.BadParameter(str(error)) from error
    table = Table("calls at once", "server", "calls/s: median (range)", "p50, ms", "p99, ms")
    document = []
    for concurrency in CONCURRENCIES:
        for server in (FLOOR, ATELIER):
            each = points[server, concurrency]
            rates = spread([one.rate_per_s for one in each])
            p50, p99 = (median(times) / 1e3 for times in zip(*((one.p50_us, one.p99_us) for one in each), strict=True))
            text = f"{rates['median']:,.0f} ({rates['minimum']:,.0f} to {rates['maximum']:,.0f})"
            table.add_row(str(concurrency), server, text, f"{p50:.2f}", f"{p99:.2f}")
            document.append({"server": server, "concurrency": concurrency, **rates, "p50_ms": p50, "p99_ms": p99})
        Console(stderr=True).print(f"{concurrency} at once: {ratio(points, concurrency):.2f} of the bare servicer")
    Console(width=120).print(table)
    write_result("model-infer", {"seconds": seconds, "repeats": repeats, "points": document})
