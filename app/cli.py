"""The command line, ``python -m app`` (also installed as ``atelier``)."""

import asyncio
import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
import uvicorn
from pydantic import ValidationError
from rich.console import Console
from rich.progress import Progress
from rich.table import Column, Table
from rich.text import Text

from app import __version__
from app.errors import ServingError
from app.server import Server
from app.settings import PREFIX, Settings, unknown_variables
from app.telemetry.logging import configure_logging

if TYPE_CHECKING:
    from collections.abc import Callable

    from pydantic_core import ErrorDetails

    from app.autotune.measure import Load
    from app.autotune.run import Tuning
    from app.contract.model_spec import ModelSpec
    from app.repository.serving_file import Promotion
    from app.serving.model import LoadedModel

cli = typer.Typer(
    help="Serve published Keras models over REST and gRPC: dynamically batched, verified at load.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
ModelsDir = Annotated[Path | None, typer.Option("--models-dir", help="Directory that holds <model>/<version>/.")]


@cli.command()
def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on [default: 127.0.0.1].")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on; 0 picks a free one [default: 8000].")] = None,
    grpc_port: Annotated[
        int | None, typer.Option(help="Port for gRPC on the same address; 0 picks a free one [default: no gRPC].")
    ] = None,
    models_dir: ModelsDir = None,
    backend: Annotated[
        str | None, typer.Option(help="onnx or savedmodel, for models that name none [default: onnx].")
    ] = None,
    device: Annotated[
        str | None,
        typer.Option(help="Device of models that name none: auto, cpu, cuda or cuda:N [default: auto]."),
    ] = None,
    watch: Annotated[
        str | None, typer.Option(help="How changes in models_dir are noticed: auto, poll or off [default: auto].")
    ] = None,
    log_level: Annotated[str | None, typer.Option(help="debug, info, warning or error [default: info].")] = None,
    log_format: Annotated[str | None, typer.Option(help="text or json [default: text].")] = None,
    drain_delay_s: Annotated[
        float | None, typer.Option(help="Seconds between not ready and no longer listening [default: 0].")
    ] = None,
    shutdown_timeout_s: Annotated[
        float | None, typer.Option(help="Seconds for work in progress to finish at shutdown [default: 30].")
    ] = None,
) -> None:
    """Load every model and answer requests until SIGTERM or Ctrl-C.

    Each flag can also be given as an environment variable, e.g. ATELIER_PORT=8080.
    """
    flags = dict(locals())
    from app.edge.http_protocol import InferenceProtocol
    from app.main import create_app

    settings = read_settings(**flags)
    if not settings.models_dir.is_dir():
        fail(f"the models directory is {str(settings.models_dir)!r}, and there is no such directory")
    if settings.port and settings.port == settings.grpc_port:
        fail(f"--port and --grpc-port are both {settings.port}; choose another one for one of them")
    configure_logging(level=settings.log_level, form=settings.log_format)
    app = create_app(settings)
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        http=InferenceProtocol,
        log_config=None,
        access_log=False,
        # Nothing here asks who the client is, and both would cost every request some microseconds.
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=round(settings.shutdown_timeout_s) + 1,
    )
    server = Server(config, settings)
    try:
        server.run()
    except SystemExit:  # uvicorn's way to say that the address is taken; its log line says why
        if app.startup_error is not None:
            raise typer.Exit(2) from None
        fail(
            f"cannot listen on {settings.host}:{settings.port}; choose another port with --port (make serve PORT=9000)"
        )


@cli.command()
def models(models_dir: ModelsDir = None) -> None:
    """List the published models: what they take, what they answer, how good they are."""
    import json

    from app.contract.model_spec import ModelSpec
    from app.repository.policy import ServingPolicy
    from app.repository.scan import scan

    settings = read_settings(models_dir=models_dir)
    table = Table(Column("model", no_wrap=True), "version", "takes", "answers", "on test data")
    found = scan(settings.models_dir)
    if not found:
        fail(f"no published model in {settings.models_dir}; train one: python -m training run NAME --publish")
    for name, versions in found.items():
        try:
            labels = ServingPolicy.read(settings.models_dir / name).version_labels
        except ServingError as error:
            Console(stderr=True).print(Text(f"warning: {error.message}", style="yellow"), soft_wrap=True)
            labels = {}
        for version in versions:
            directory = settings.models_dir / name / str(version)
            try:
                spec = ModelSpec.read(directory)
                metrics = json.loads((directory / "metrics.json").read_text(encoding="utf-8"))
            except (ServingError, OSError, ValueError) as error:
                table.add_row(name, str(version), Text(f"unreadable: {error}", style="red"), "", "")
                continue
            kind = spec.preprocessing.kind if spec.preprocessing else "tensor"
            inputs = ", ".join(f"{t.name} {t.dtype}{list(t.shape)}" for t in spec.inputs)
            measured = _measured(metrics.get("test") or {})
            named = ", ".join(label for label, number in labels.items() if number == version)
            if metrics.get("dataset", {}).get("form") == "synthetic":
                measured += " (synthetic data)"
            marked = f"{version} ({named})" if named else str(version)
            table.add_row(name, marked, f"{kind}: {inputs}", Text(_answers(spec)), measured)
    _print_table(table)


def _print_table(table: Table) -> None:
    """A terminal wraps; a pipe or a file gets whole lines."""
    console = Console()
    console.print(table) if console.is_terminal else Console(width=200).print(table)


def _answers(spec: "ModelSpec") -> str:
    """What the model answers with, for the table."""
    if spec.postprocessing is None:
        return "tensors"
    labels = getattr(spec.postprocessing, "labels", None)
    return ", ".join(labels[:10]) if labels else "the next word"


def _measured(test: dict[str, float]) -> str:
    """The figure of the test set that matters most."""
    for name, form in (("perplexity", "perplexity {:.1f}"), ("accuracy", "accuracy {:.4f}"), ("rmse", "RMSE {:.4g}")):
        if name in test:
            return form.format(test[name])
    return "-"


@cli.command()
def predict(
    model: Annotated[str, typer.Argument(help="Model name, as `models` lists it.")],
    file_or_text: Annotated[str, typer.Argument(help="An image or text file, or the text itself.")],
    version: Annotated[int | None, typer.Option(help="Version; the newest if left out.")] = None,
    top_k: Annotated[int, typer.Option(min=1, help="Most labels printed.")] = 3,
    models_dir: ModelsDir = None,
) -> None:
    """Load one model, classify one image or text with it, and print the labels. Needs no running service."""
    settings = read_settings(models_dir=models_dir)
    configure_logging(level="error", form="text")
    path = Path(file_or_text)
    data = path.read_bytes() if _is_file(path) else None
    try:
        ranked = asyncio.run(_predict(settings, model, version, data, file_or_text, top_k))
    except ServingError as error:
        fail(error.message)
    for label, score in ranked:
        Console().print(Text(f"{score:7.4f}  {label}"))


@cli.command()
def autotune(
    model: Annotated[str, typer.Argument(help="Model name, as `models` lists it.")],
    p99_ms: Annotated[float, typer.Option("--p99-ms", help="Largest p99 in milliseconds, without HTTP.")],
    version: Annotated[int | None, typer.Option(help="Version; the newest if left out.")] = None,
    concurrency: Annotated[int, typer.Option(help="Clients, each waiting for its answer before it asks again.")] = 32,
    seconds: Annotated[float, typer.Option(help="Seconds measured per setting.")] = 2.0,
    models_dir: ModelsDir = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the table and write nothing.")] = False,
) -> None:
    """Measure batching settings of one model and write the best into its serving.json.

    The figures are of the model and its batcher alone, without HTTP. The best setting answers the most instances per
    second with a p99 of at most --p99-ms; of those within 3 % of it the simplest is taken.
    """
    from app.autotune.choice import choose
    from app.autotune.measure import Load
    from app.autotune.report import batching_keys, doubt_about, table_of
    from app.repository.serving_file import write_batching

    settings = read_settings(models_dir=models_dir)
    for flag, value in (("--p99-ms", p99_ms), ("--concurrency", concurrency), ("--seconds", seconds)):
        if not 0 < value < math.inf:
            fail(f"{flag} is {value}; it must be a number above 0")
    if not settings.models_dir.is_dir():
        fail(f"{settings.models_dir} is no directory that can be read; name the one that holds <model>/<version>/")
    configure_logging(level="error", form="text")
    load = Load(concurrency=concurrency, seconds=seconds)
    try:
        # On the event loop that the service runs on: a faster loop batches differently.
        with asyncio.Runner(loop_factory=uvicorn.Config("").get_loop_factory()) as runner:
            loaded, tuning = runner.run(_autotune(settings, model, version, load, p99_ms))
        best = choose(tuning.measurements, p99_ms=p99_ms)
        _print_table(table_of(tuning, best, model=loaded, load=load, p99_ms=p99_ms))
        if best is None:
            least = min(each.p99_ms for each in tuning.measurements)
            fail(f"no setting has a p99 of at most {p99_ms:g} ms; the best reached {least:.3g} ms", code=1)
        if doubt := doubt_about(best):
            Console(stderr=True).print(Text.assemble(("warning:", "yellow"), f" {doubt}"), soft_wrap=True)
        keys = batching_keys(best.setting, loaded)
        chosen = ", ".join(f"{name} {value}" for name, value in keys.items())
        if dry_run:
            line = f"chosen: {chosen}; nothing was written"
        else:
            path = write_batching(settings.models_dir / model, keys)
            line = f"wrote {path}: {chosen}; a running service follows within seconds"
    except ServingError as error:
        fail(error.message)
    except OSError as error:
        fail(f"{error.filename or settings.models_dir}: {error.strerror or error}")
    Console(soft_wrap=True).print(Text(line))


@cli.command()
def promote(
    model: Annotated[str, typer.Argument(help="Model name, as `models` lists it.")],
    version: Annotated[int, typer.Argument(help="Version that is to answer requests that name none.")],
    models_dir: ModelsDir = None,
) -> None:
    """Let a version answer the requests that name none: it gets the label "stable" in serving.json.

    A running service follows within seconds; if the version does not load, the one before goes on serving.
    """
    from app.repository.serving_file import promote as write

    _relabel(models_dir, model, lambda directory, versions: write(directory, version, versions=versions))


@cli.command()
def rollback(
    model: Annotated[str, typer.Argument(help="Model name, as `models` lists it.")], models_dir: ModelsDir = None
) -> None:
    """Undo the last promotion, or go back to the next older version if there was none."""
    from app.repository.serving_file import rollback as write

    _relabel(models_dir, model, lambda directory, versions: write(directory, versions=versions))


def _relabel(models_dir: Path | None, model: str, write: "Callable[[Path, list[int]], Promotion]") -> None:
    """Change who is stable, with the versions that lie on the disk, and say what has changed."""
    from app.repository.scan import scan
    from app.serving.versions import no_model

    settings = read_settings(models_dir=models_dir)
    directory = settings.models_dir / model
    try:
        found = scan(settings.models_dir)
        if model not in found:
            raise no_model(model, found)
        promotion = write(directory, found[model])
    except ServingError as error:
        fail(error.message)
    except OSError as error:
        fail(f"{error.filename or directory}: {error.strerror or error}")
    line = f"{model}: version {promotion.version} is stable"
    before = f", before it was {promotion.before}" if promotion.before not in {None, promotion.version} else ""
    Console(soft_wrap=True).print(Text(f"{line}{before}; a running service follows within seconds"))


@cli.command()
def devices() -> None:
    """Show every compute device that was found, why models run on it or not, and where "auto" puts them."""
    from collections import Counter

    from app.contract.device import AUTO
    from app.runtime.devices import probe_devices
    from app.runtime.placement import choose

    table = Table("device", "what it is", "used", "why")
    found = probe_devices()
    for device in found:
        table.add_row(device.name, device.description, "yes" if device.used else "no", device.reason)
    Console().print(table)
    placement = choose(AUTO, found, Counter())
    Console(soft_wrap=True).print(Text(f"models run on {placement.device}: {placement.reason}"))


@cli.callback(invoke_without_command=True)
def version_flag(
    version: Annotated[bool, typer.Option("--version", help="Print the version and stop.")] = False,
) -> None:
    """Serve published Keras models over REST and gRPC: dynamically batched, verified at load."""
    if version:
        Console().print(__version__)
        raise typer.Exit


async def _predict(
    settings: Settings, name: str, version: int | None, data: bytes | None, text: str, top_k: int
) -> Any:
    import time

    from app.edge.instances import utf8
    from app.main import build_lifecycle
    from app.serving.predictor import predict as run
    from app.telemetry.metrics import Metrics

    lifecycle = build_lifecycle(settings, Metrics())
    registry = lifecycle.registry
    await lifecycle.load_one(name, version)
    model = registry.get(name, version)
    try:
        if model.tokenizer is not None:
            instance: Any = model.instance_from_text(text if data is None else utf8(data))
        elif data is None and model.spec.preprocessing is not None:
            fail(f"there is no file {text!r}; model {name!r} takes an image file")
        else:
            instance = model.instance_from_image(data or b"")
        prediction = await run(model, {model.input_for_media(): instance[None]}, clock=time.perf_counter)
        return model.ranked(prediction.outputs[model.score_output()], top_k=top_k)[0]
    finally:
        await registry.drain(0)


async def _autotune(
    settings: Settings, name: str, version: int | None, load: "Load", p99_ms: float
) -> "tuple[LoadedModel, Tuning]":
    import time

    from app.autotune.run import tune
    from app.main import build_lifecycle
    from app.repository.policy import ServingPolicy
    from app.telemetry.metrics import Metrics

    ServingPolicy.read(settings.models_dir / name)  # an invalid one is said in its own words, before anything runs
    lifecycle = build_lifecycle(settings, Metrics())
    registry = lifecycle.registry
    await lifecycle.load_one(name, version)
    try:
        model = registry.get(name, version)
        console = Console(stderr=True)
        with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
            bar = progress.add_task(f"measuring {name}")
            tuning = await tune(
                model,
                settings.models_dir,
                load,
                p99_ms=p99_ms,
                clock=time.perf_counter,
                on_progress=lambda done, total: progress.update(bar, completed=done, total=total),
            )
    finally:
        await registry.drain(0)
    return model, tuning


def read_settings(**flags: Any) -> Settings:
    """Settings from flags and environment; ends the program with one sentence per mistake."""
    if unknown := unknown_variables():
        known = ", ".join(PREFIX + name.upper() for name in Settings.model_fields)
        fail(f"unknown environment variable {unknown[0]}; known: {known}")
    try:
        return Settings(**{name: value for name, value in flags.items() if value is not None})
    except ValidationError as error:
        fail("\n".join(map(_in_words, error.errors())))


def _in_words(error: "ErrorDetails") -> str:
    """One mistake in one sentence: a rule of ours says all of it itself."""
    if error["type"] == "value_error":
        return str(error["ctx"]["error"])
    return f"{'.'.join(map(str, error['loc']))} is {error['input']!r}: {error['msg']}"


def fail(message: str, *, code: int = 2) -> NoReturn:
    """Print one sentence to standard error and exit with ``code``."""
    # A Text, not markup: a message may quote brackets that a user wrote.
    Console(stderr=True).print(Text.assemble(("error:", "red"), f" {message}"), soft_wrap=True)
    raise typer.Exit(code)


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a sentence is longer than a file name may be
        return False


def main() -> None:
    """Entry point of the console script."""
    cli()
