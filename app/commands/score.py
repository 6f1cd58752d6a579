"""``score``: bulk scoring of files, in this process or against a running service."""

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.text import Text

from app.commands.shared import fail, with_loading_options
from app.errors import ServingError
from app.settings import Settings
from app.telemetry.logging import configure_logging

if TYPE_CHECKING:
    from app.scoring.local import LocalScorer
    from app.scoring.remote import RemoteScorer
    from app.scoring.run import Count

INTERRUPTED = 130


@with_loading_options
def score(
    settings: Settings,
    model: Annotated[str, typer.Argument(help="Name of the model, as `models` lists it.")],
    inputs: Annotated[
        list[str],
        typer.Argument(metavar="INPUT", help="Images, directories or patterns of them, .csv, .parquet, .txt, .npz."),
    ],
    output: Annotated[Path, typer.Option(help="File to write: .csv, .jsonl or .parquet.")],
    columns: Annotated[
        list[str] | None,
        typer.Option("--column", help="Column of tables to score; may be repeated [default: those named like inputs]."),
    ] = None,
    top_k: Annotated[int, typer.Option(min=1, max=100, help="Labels per row, for classifiers.")] = 1,
    version: Annotated[int | None, typer.Option(help="Version [default: the default version of the model].")] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue after the last row of an interrupted run.")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace --output, and the rows of an interrupted run.")
    ] = False,
    url: Annotated[
        str | None, typer.Option(help="Score with a running service at this URL instead of in this process.")
    ] = None,
    api_key: Annotated[str | None, typer.Option(envvar="SCORE_API_KEY", help="API key for --url.")] = None,
) -> None:
    """Score files with a model and write one row for each instance.

    A row that cannot be scored has a text in the column error. Exit codes: 0 all rows scored, 1 some failed, 2 a
    mistake, 130 interrupted.
    """
    from app.scoring.checkpoint import partial_of
    from app.scoring.inputs import check_inputs
    from app.scoring.outputs import writer_for
    from app.scoring.run import Count

    configure_logging(level="error", form="text")
    count = Count()
    try:
        writer_for(output)
        check_inputs(inputs)
        _check_output(output, resume=resume, overwrite=overwrite)
        job = _Job(settings, model, inputs, output, columns or [], top_k, version, url, api_key, resume, count)
        asyncio.run(job.run())
    except ServingError as error:
        fail(error.message)
    except OSError as error:
        fail(f"{error.filename or output}: {error.strerror or error}")
    except KeyboardInterrupt:
        line = f"interrupted after {count.rows} rows"
        if partial_of(output).exists():
            line += "; the same command with --resume continues"
        Console(stderr=True).print(Text(line), soft_wrap=True)
        raise typer.Exit(INTERRUPTED) from None
    Console(soft_wrap=True).print(Text(f"wrote {output}: {count.rows} rows, {count.failed} failed"))
    if count.failed:
        raise typer.Exit(1)


def _check_output(output: Path, *, resume: bool, overwrite: bool) -> None:
    """Refuse to replace what the user may still need."""
    if resume and overwrite:
        fail("--resume and --overwrite exclude each other")
    from app.scoring.checkpoint import partial_of

    partial = partial_of(output)
    if output.exists() and not overwrite:
        fail(f"{output} exists; choose another file, or add --overwrite")
    if partial.exists() and not resume and not overwrite:
        fail(f"{partial} is left by an interrupted run; add --resume to continue it, or --overwrite to start again")


class _Job:
    """One run of the command."""

    def __init__(
        self,
        settings: Settings,
        model: str,
        inputs: Sequence[str],
        output: Path,
        columns: Sequence[str],
        top_k: int,
        version: int | None,
        url: str | None,
        api_key: str | None,
        resume: bool,
        count: "Count",
    ) -> None:
        self._settings, self._model, self._inputs, self._output = settings, model, inputs, output
        self._columns, self._top_k, self._version = columns, top_k, version
        self._url, self._api_key, self._resume, self._count = url, api_key, resume, count

    async def run(self) -> None:
        """Score all rows, then write the final file."""
        from app.scoring.checkpoint import Checkpoint
        from app.scoring.inputs import rows_of
        from app.scoring.outputs import finish, writer_for
        from app.scoring.run import run, skip

        async with AsyncExitStack() as stack:
            scorer = await self._scorer(stack)
            checkpoint = Checkpoint(self._output, self._plan(scorer))
            rows = rows_of(self._inputs, scorer.takes, self._columns)
            if self._resume:
                self._count.rows, self._count.failed = checkpoint.resume()
                await asyncio.to_thread(skip, rows, checkpoint)
            else:
                checkpoint.start()
            stack.callback(checkpoint.close)
            console = Console(stderr=True)
            parts = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
            with Progress(*parts, console=console, transient=True, disable=not console.is_terminal) as progress:
                bar = progress.add_task(f"scoring with {self._model}", total=None)

                def show(count: "Count") -> None:
                    words = f"{count.rows} rows, {count.failed} failed"
                    progress.update(bar, completed=count.rows, description=words)

                try:
                    await run(rows, scorer, checkpoint, self._count, on_progress=show)
                except ServingError:
                    if not self._count.rows:
                        checkpoint.close()
                        checkpoint.remove()
                    raise
            checkpoint.close()
            finish(self._output, checkpoint, scorer.columns, writer_for(self._output))

    def _plan(self, scorer: "LocalScorer | RemoteScorer") -> dict[str, Any]:
        """Facts of the run that must be equal when it continues."""
        return {
            "model": self._model,
            "version": scorer.version,
            "inputs": list(self._inputs),
            "columns": list(self._columns),
            "top_k": self._top_k,
        }

    async def _scorer(self, stack: AsyncExitStack) -> "LocalScorer | RemoteScorer":
        if self._url is not None:
            from app.scoring.remote import RemoteScorer

            remote = RemoteScorer(self._url, self._model, self._version, top_k=self._top_k, api_key=self._api_key)
            await asyncio.to_thread(remote.open)
            stack.callback(remote.close)
            return remote
        from app.lifecycle.draining import drain
        from app.scoring.local import LocalScorer
        from app.telemetry.metrics import Metrics
        from app.wiring.assembly import build_lifecycle

        lifecycle = build_lifecycle(self._settings, Metrics())
        await lifecycle.load_one(self._model, self._version)
        stack.push_async_callback(drain, lifecycle.registry, 0)
        return LocalScorer(lifecycle.registry.get(self._model, self._version), top_k=self._top_k)
