"""``keys``: API keys of the service."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from app.commands.shared import fail, print_table, read_settings
from app.errors import KeysUnreadable

keys = typer.Typer(no_args_is_help=True, rich_markup_mode=None)


@keys.callback()
def _keys() -> None:
    """Create, list and remove API keys of the service."""


KeysFilePath = Annotated[
    Path | None, typer.Option("--file", help="File of hashed keys [default: ATELIER_API_KEYS_FILE].")
]


@keys.command()
def new(
    name: Annotated[str, typer.Option(help="Name of the key, for messages and logs.")],
    scopes: Annotated[
        str, typer.Option(help="What the key permits, separated by commas: infer, feedback, admin, metrics.")
    ] = "infer",
    rate: Annotated[
        float | None, typer.Option(help="Most requests per second to each process [default: no limit].")
    ] = None,
    api_keys_file: KeysFilePath = None,
) -> None:
    """Create a key, show it once, and add its hash to the file.

    A running service accepts the key within two seconds.
    """
    from app.control.keys_file import add_key

    path = _path(api_keys_file)
    granted = [scope.strip() for scope in scopes.split(",") if scope.strip()]
    with _failures(path, "written"):
        key = add_key(path, name=name, scopes=granted, rate=rate)
    Console(stderr=True).print(f"{name}: for {', '.join(granted)}; the key is shown this once:", markup=False)
    typer.echo(key)


@keys.command("list")
def list_(api_keys_file: KeysFilePath = None) -> None:
    """List names, scopes and rates of the keys in the file."""
    from app.control.keys_file import read_keys

    path = _path(api_keys_file)
    with _failures(path, "read"):
        found = read_keys(path).keys
    table = Table("name", "scopes", "rate")
    for key in found:
        table.add_row(key.name, ", ".join(key.scopes), "" if key.rate is None else f"{key.rate:g}/s")
    print_table(table)


@keys.command()
def remove(
    name: Annotated[str, typer.Option(help="Name of the key.")],
    api_keys_file: KeysFilePath = None,
) -> None:
    """Remove a key from the file.

    A running service refuses the key within two seconds.
    """
    from app.control.keys_file import remove_key

    path = _path(api_keys_file)
    with _failures(path, "written"):
        remove_key(path, name=name)


def _path(given: Path | None) -> Path:
    path = given or read_settings().api_keys_file
    if path is None:
        fail("there is no file of API keys; set ATELIER_API_KEYS_FILE, or use --file")
    return path


@contextmanager
def _failures(path: Path, how: str) -> Iterator[None]:
    """Errors of the file as those of the command."""
    try:
        yield
    except KeysUnreadable as error:
        fail(error.message)
    except OSError as error:
        fail(f"{str(path)!r} cannot be {how}: {error.strerror}")
