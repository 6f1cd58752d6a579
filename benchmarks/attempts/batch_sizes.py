"""``python -m benchmarks.attempts.batch_sizes``: answers a second of a model by its ``max_batch_size``.

One service for each size, all on one core and asked in turn by wrk on another, raw images. Requires wrk and two cores.
"""

import json
import shutil
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from benchmarks.results import spread, write_result
from benchmarks.scaling.measure import posts_of, replicas
from benchmarks.serving.command import WORK
from benchmarks.serving.load import closed_loop

SIZES = (1, 2, 4, 8, 16, 32)


def main(
    model: Annotated[str, typer.Option(help="Model of images of 28x28.")] = "fashion-mnist-cnn",
    models: Annotated[Path, typer.Option("--models-dir", help="Models directory.")] = Path("models"),
    connections: Annotated[int, typer.Option(min=1, help="Of wrk.")] = 64,
    seconds: Annotated[float, typer.Option(min=1, help="Seconds of each measurement.")] = 2,
    repeats: Annotated[int, typer.Option(min=1, help="Repeats of all sizes, in turn.")] = 4,
) -> None:
    """Measure every size."""
    posts = posts_of(models.resolve(), WORK, model)
    rates: dict[int, list[float]] = {size: [] for size in SIZES}
    with tempfile.TemporaryDirectory() as place, ExitStack() as stack:
        running = {}
        for size in SIZES:
            directory = Path(place, str(size))
            shutil.copytree(models / model, directory / model)
            (directory / model / "serving.json").write_text(json.dumps({"batching": {"max_batch_size": size}}))
            running[size] = stack.enter_context(replicas(directory, 1))
        for _ in range(repeats):
            for size, service in running.items():
                load = closed_loop(
                    posts,
                    port=service.ports[0],
                    connections=connections,
                    seconds=seconds,
                    core=service.load_core,
                )
                if load.errors:
                    raise typer.BadParameter(f"{load.errors} requests to the service of batches of {size} failed")
                rates[size].append(load.rate_per_s)
    table = Table("max_batch_size", "answers/s: median", "minimum", "maximum", title=model)
    found = {size: spread(each) for size, each in rates.items()}
    for size, figures in found.items():
        table.add_row(str(size), *(f"{figures[name]:,.0f}" for name in ("median", "minimum", "maximum")))
    Console().print(table)
    write_result(f"batch-sizes-{model}", {"connections": connections, "seconds": seconds, "rates_per_s": found})


if __name__ == "__main__":
    typer.run(main)
