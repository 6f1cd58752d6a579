"""The command line, ``python -m app`` (also installed as ``atelier``).

``training.cli`` has the same options of ``Typer``, so that both have the same layout; a test compares them.
"""

from typing import Annotated

import typer
from rich.console import Console

from app import __version__
from app.commands.autotune import autotune
from app.commands.canary import canary
from app.commands.explain import explain
from app.commands.keys import keys
from app.commands.models import devices, models, predict
from app.commands.promotion import promote, rollback
from app.commands.recordings import recordings
from app.commands.score import score
from app.commands.serve import serve
from app.commands.top import top
from app.commands.verify import verify

cli = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"max_content_width": 120},
)
for command in (serve, models, predict, explain, score, verify, promote, rollback, autotune, recordings, devices, top):
    cli.command()(command)
cli.add_typer(canary, name="canary")
cli.add_typer(keys, name="keys")


@cli.callback(invoke_without_command=True)
def version_flag(
    version: Annotated[bool, typer.Option("--version", help="Show the version and exit.")] = False,
) -> None:
    """Serve published models over REST and gRPC, and manage them.

    Every option of serve is also an environment variable: ATELIER_PORT=8080 is --port 8080.
    """
    if version:
        Console().print(__version__)
        raise typer.Exit


def main() -> None:
    """Entry point of the console script."""
    cli()
