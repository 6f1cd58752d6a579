"""The command ``python -m deploy.ray.score MODEL INPUT... --output FILE``."""

import logging
from pathlib import Path
from typing import Annotated

import ray
import typer
from rich.console import Console
from rich.text import Text

from app.commands.shared import fail
from app.errors import ServingError
from app.scoring.checkpoint import Checkpoint
from app.scoring.inputs import check_inputs, rows_of
from app.scoring.outputs import finish, writer_for
from app.scoring.run import Count
from deploy.ray.scoring import Facts, Pool, Scored, facts_of, score

cli = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@cli.command()
def main(
    model: Annotated[str, typer.Argument(help="Name of the model.")],
    inputs: Annotated[
        list[str],
        typer.Argument(metavar="INPUT", help="Images, directories or patterns of them, .csv, .parquet, .txt, .npz."),
    ],
    output: Annotated[Path, typer.Option(help="File to write: .csv, .jsonl or .parquet.")],
    models_dir: Annotated[Path, typer.Option(help="Models directory, at the same path on every node.")] = Path(
        "models"
    ),
    address: Annotated[str, typer.Option(help="Address of the cluster: HOST:PORT, or auto for the one here.")] = "auto",
    actors: Annotated[int, typer.Option(min=1, help="Processes that score.")] = 1,
    num_cpus: Annotated[float, typer.Option(min=0, help="Logical CPUs of each.")] = 1,
    num_gpus: Annotated[float, typer.Option(min=0, help="GPUs of each; fractions are possible.")] = 0,
    columns: Annotated[list[str] | None, typer.Option("--column", help="As in `python -m app score`.")] = None,
    top_k: Annotated[int, typer.Option(min=1, max=100, help="Labels per row, for classifiers.")] = 1,
    version: Annotated[int | None, typer.Option(help="Version [default: the default version of the model].")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace --output.")] = False,
) -> None:
    """Score files on the nodes of a Ray cluster and write one row for each instance, in order.

    Exit codes as of `python -m app score`: 0 all rows scored, 1 some failed, 2 a mistake.
    """
    count = Count()
    try:
        write = writer_for(output)
        check_inputs(inputs)
        if output.exists() and not overwrite:
            fail(f"{output} exists; choose another file, or add --overwrite")
        ray.init(address=address, log_to_driver=False, logging_level="error")
        logging.getLogger("ray.data").setLevel(logging.ERROR)
        ray.data.DataContext.get_current().enable_progress_bars = False
        pool = Pool(actors, num_cpus, num_gpus)
        settings = {"models_dir": models_dir.absolute()}
        stated = Scored(settings=settings, model=model, version=version, top_k=top_k)
        facts = _facts(stated, pool)
        scored = Scored(settings=settings, model=model, version=facts.version, top_k=top_k)
        checkpoint = Checkpoint(output, {"model": model, "version": facts.version, "inputs": inputs})
        checkpoint.start()
        score(scored, facts, rows_of(inputs, facts.takes, columns or []), checkpoint, pool, count)
        checkpoint.close()
        ray.shutdown()  # its last lines come before ours
        finish(output, checkpoint, facts.columns, write)
    except ServingError as error:
        fail(error.message)
    except OSError as error:
        fail(f"{error.filename or output}: {error.strerror or error}")
    Console(soft_wrap=True).print(Text(f"wrote {output}: {count.rows} rows, {count.failed} failed"))
    if count.failed:
        raise typer.Exit(1)


def _facts(scored: Scored, pool: Pool) -> Facts:
    """Load the model once, on a node.

    Raises:
        ServingError: it cannot be loaded.
    """
    task = ray.remote(num_cpus=pool.num_cpus, num_gpus=pool.num_gpus, max_calls=1)(facts_of)
    try:
        found: Facts = ray.get(task.remote(scored))
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, ServingError):
            raise error.cause from None
        raise
    return found


if __name__ == "__main__":
    cli()
