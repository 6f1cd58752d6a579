"""``keys``: API keys of the service."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from app.commands.shared import fail, read_settings
from app.errors import KeysUnreadable

keys = typer.Typer(no_args_is_help=True, rich_markup_mode=None)


@keys.callback()
def _keys() -> None:
    """Create API keys of the service."""


@keys.command()
def new(
    name: Annotated[str, typer.Option(help="Name of the key, for messages and logs.")],
    scopes: Annotated[
        str, typer.Option(help="What the key permits, separated by commas: infer, feedback, admin, metrics.")
    ] = "infer",
    rate: Annotated[
        float | None, typer.Option(help="Most requests per second to each process [default: no limit].")
    ] = None,
    api_keys_file: Annotated[
        Path | None, typer.Option("--file", help="File of hashed keys [default: ATELIER_API_KEYS_FILE].")
    ] = None,
) -> None:
    """Create a key, show it once, and add its hash to the file.

    A running service accepts the key within two seconds.
    """
    from app.control.keys_file import add_key

    path = api_keys_file or read_settings().api_keys_file
    if path is None:
        fail("there is no file of API keys; set ATELIER_API_KEYS_FILE, or use --file")
    granted = [scope.strip() for scope in scopes.split(",") if scope.strip()]
    try:
        key = add_key(path, name=name, scopes=granted, rate=rate)
    except KeysUnreadable as error:
        fail(error.message)
    except OSError as error:
        fail(f"{str(path)!r} cannot be written: {error.strerror}")
    Console(stderr=True).print(f"{name}: for {', '.join(granted)}; the key is shown this once:", markup=False)
    typer.echo(key)
