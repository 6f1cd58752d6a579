"""``autotune``: measures batching settings of a model and writes the best."""

import asyncio
import math
from typing import TYPE_CHECKING, Annotated

import typer
import uvicorn
from rich.console import Console
from rich.progress import Progress
from rich.text import Text

from app.commands.shared import fail, open_repository, print_table, with_loading_options
from app.errors import ServingError
from app.settings import Settings
from app.telemetry.logging import configure_logging

if TYPE_CHECKING:
    from app.autotune.measure import Load
    from app.autotune.run import Tuning
    from app.loaded import LoadedModel
    from app.repository.places import Place


@with_loading_options
def autotune(
    settings: Settings,
    model: Annotated[str, typer.Argument(help="Name of the model, as `models` lists it.")],
    p99_ms: Annotated[
        float, typer.Option("--p99-ms", help="Maximum 99th-percentile latency in milliseconds, measured without HTTP.")
    ],
    version: Annotated[int | None, typer.Option(help="Version [default: the newest].")] = None,
    concurrency: Annotated[
        int, typer.Option(help="Clients; each waits for its answer before it sends the next request.")
    ] = 32,
    seconds: Annotated[float, typer.Option(help="Seconds to measure each setting.")] = 2.0,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the table and write nothing.")] = False,
) -> None:
    """Measure batching settings of a model and write the best.

    The best setting answers the most instances per second with a p99 of at most --p99-ms. If others are within 3 % of
    it, the simplest is chosen and written to serving.json. The figures are those of the model and its batcher, without
    HTTP.
    """
    from app.autotune.choice import choose
    from app.autotune.measure import Load
    from app.autotune.report import batching_keys, doubt_about, table_of
    from app.repository.serving_file import write_batching

    for flag, value in (("--p99-ms", p99_ms), ("--concurrency", concurrency), ("--seconds", seconds)):
        if not 0 < value < math.inf:
            fail(f"{flag} is {value}; it must be a number above 0")
    directory = settings.only_models_dir
    if directory is not None and not directory.is_dir():
        fail(f"{directory} is not a readable directory; --models-dir requires one with <model>/<version>/")
    configure_logging(level="error", form="text")
    load = Load(concurrency=concurrency, seconds=seconds)
    places = open_repository(settings).places
    try:
        place = places.of(model)
        # The same event loop as the service: a faster loop batches differently.
        with asyncio.Runner(loop_factory=uvicorn.Config("").get_loop_factory()) as runner:
            loaded, tuning = runner.run(_autotune(settings, place, version, load, p99_ms))
        best = choose(tuning.measurements, p99_ms=p99_ms)
        print_table(table_of(tuning, best, model=loaded, load=load, p99_ms=p99_ms))
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
            path = write_batching(place.directory, keys)
            line = f"wrote {path}: {chosen}; a running service follows within seconds"
    except ServingError as error:
        fail(error.message)
    except OSError as error:
        fail(f"{error.filename or directory}: {error.strerror or error}")
    Console(soft_wrap=True).print(Text(line))


async def _autotune(
    settings: Settings, place: "Place", version: int | None, load: "Load", p99_ms: float
) -> "tuple[LoadedModel, Tuning]":
    import time

    from app.autotune.run import tune
    from app.lifecycle.draining import drain
    from app.lifecycle.loading.device_choice import close_all
    from app.repository.policy_file import read_policy
    from app.telemetry.metrics import Metrics
    from app.wiring.assembly import build_lifecycle, build_loader

    read_policy(place.directory, place.stated)  # an invalid file is reported before anything runs
    lifecycle = build_lifecycle(settings, Metrics())
    registry = lifecycle.registry
    await lifecycle.load_one(place.name, version)
    try:
        model = registry.get(place.name, version)
        # Once more, for its samples, which a loaded model does not keep.
        opened = build_loader(settings, Metrics(), lifecycle.repository.places).open(place.name, model.version)
        close_all(opened.placed)
        console = Console(stderr=True)
        with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
            bar = progress.add_task(f"measuring {place.name}")
            tuning = await tune(
                model,
                opened.contract,
                place,
                load,
                p99_ms=p99_ms,
                clock=time.perf_counter,
                on_progress=lambda done, total: progress.update(bar, completed=done, total=total),
            )
    finally:
        await drain(registry, 0)
    return model, tuning
