"""The command line, ``python -m app`` (also installed as ``atelier``)."""

from typing import Annotated

import typer
from rich.console import Console

from app import __version__
from app.commands.autotune import autotune
from app.commands.keys import keys
from app.commands.models import devices, models, predict
from app.commands.promotion import promote, rollback
from app.commands.serve import serve

cli = typer.Typer(
    help="Serve published Keras models over REST and gRPC: dynamically batched, verified at load.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
for command in (serve, models, predict, promote, rollback, autotune, devices):
    cli.command()(command)
cli.add_typer(keys, name="keys")


@cli.callback(invoke_without_command=True)
def version_flag(
    version: Annotated[bool, typer.Option("--version", help="Print the version and stop.")] = False,
) -> None:
    """Serve published Keras models over REST and gRPC: dynamically batched, verified at load."""
    if version:
        Console().print(__version__)
        raise typer.Exit


def main() -> None:
    """Entry point of the console script."""
    cli()
