"""What the commands share: settings from flags, errors, output."""

import os
from collections.abc import Mapping
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

ModelsDir = Annotated[
    Path | None, typer.Option("--models-dir", help="Directory of the published models [default: models].")
]


def read_settings(**flags: Any) -> Settings:
    """Settings from flags and environment; exits with one sentence for each mistake."""
    if unknown := unknown_variables():
        known = ", ".join(PREFIX + name.upper() for name in Settings.model_fields)
        fail(f"unknown environment variable {unknown[0]}; known: {known}")
    try:
        return Settings(**{name: value for name, value in flags.items() if value is not None})
    except ValidationError as error:
        fail("\n".join(map(_in_words, error.errors())))


def _in_words(error: "ErrorDetails") -> str:
    """One mistake in one sentence; a rule of this project has its own sentence."""
    if error["type"] == "value_error":
        return str(error["ctx"]["error"])
    return f"{'.'.join(map(str, error['loc']))} is {error['input']!r}: {error['msg']}"


def fail(message: str, *, code: int = 2) -> NoReturn:
    """Print one sentence to standard error and exit with ``code``."""
    # A Text, not markup: a message may quote brackets that a user wrote.
    Console(stderr=True).print(Text.assemble(("error:", "red"), f" {message}"), soft_wrap=True)
    raise typer.Exit(code)


def print_table(table: Table) -> None:
    """Print a table, as wide as the terminal or COLUMNS; without both, for a pipe or a file, 200 columns."""
    console = Console()
    sized = console.is_terminal or "COLUMNS" in os.environ
    for column in table.columns:
        column.overflow = "fold"  # no word is cut off, however narrow the terminal
    (console if sized else Console(width=200)).print(table)


def print_facts(heading: str, facts: Mapping[str, Text]) -> None:
    """Print a heading, and below it one line for each fact; long values wrap in a column of their own."""
    Console(soft_wrap=True).print(Text(heading, style="bold"))
    table = Table(box=None, show_header=False, padding=(0, 0, 0, 2))
    for name, value in facts.items():
        table.add_row(name, value)
    print_table(table)
