"""What the commands share: settings from flags, the way they fail, tables."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from pydantic import ValidationError
from rich.console import Console
from rich.table import Table
from rich.text import Text

from app.settings import PREFIX, Settings, unknown_variables

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

ModelsDir = Annotated[Path | None, typer.Option("--models-dir", help="Directory that holds <model>/<version>/.")]


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


def print_table(table: Table) -> None:
    """A terminal wraps; a pipe or a file gets whole lines."""
    console = Console()
    console.print(table) if console.is_terminal else Console(width=200).print(table)
