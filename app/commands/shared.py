"""Shared parts of the commands: options, settings from flags, errors, output."""

import functools
import inspect
import os
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from pydantic import ValidationError
from rich.console import Console
from rich.table import Table
from rich.text import Text

from app.errors import ServingError, VersionRefused
from app.mirror.location import Location
from app.settings import PREFIX, Settings, unknown_variables

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

    from app.repository.repository import Repository

ModelsDir = Annotated[
    str | None,
    typer.Option(
        "--models-dir", help="Directory of the published models, or its URL: s3, gs, hf, https [default: models]."
    ),
]
ModelConfigFile = Annotated[
    Path | None,
    typer.Option(
        help="TensorFlow Serving's models.config; --models-dir then adds its models only if it is given [default: "
        "none]."
    ),
]
ModelName = Annotated[str | None, typer.Option(help="Name of the model at --model-base-path.")]
ModelBasePath = Annotated[
    Path | None, typer.Option(help="Directory with the versions of one model, named by --model-name.")
]
Plugins = Annotated[
    str | None,
    typer.Option(
        help="Backends and transforms of installed packages that versions may use, separated by commas [default: none]."
    ),
]
# The settings for the location of the models, and their options.
_WHERE = {
    "models_dir": ModelsDir,
    "model_config_file": ModelConfigFile,
    "model_name": ModelName,
    "model_base_path": ModelBasePath,
}
# The settings that decide which versions load, and their options.
_LOADING = {**_WHERE, "plugins": Plugins}


def with_model_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of ``serve`` for the location of the models.

    Args:
        command: gets the settings made of them as its first argument, ``settings``.
    """
    return _with_options(command, _WHERE)


def with_loading_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command that loads a model the options of ``serve`` for that; see ``with_model_options``."""
    return _with_options(command, _LOADING)


def _with_options(command: Callable[..., None], options: Mapping[str, Any]) -> Callable[..., None]:
    given = inspect.signature(command)
    own = [each for name, each in given.parameters.items() if name != "settings"]
    where = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=option)
        for name, option in options.items()
    ]

    @functools.wraps(command)
    def with_options(**arguments: Any) -> None:
        settings = read_settings(**{name: arguments.pop(name) for name in options})
        if isinstance(settings.models_dir, Location):
            _copy(settings)
        elif settings.are_named and settings.only_models_dir is not None:
            check_models_dir(settings.only_models_dir)
        command(settings, **arguments)

    # Typer makes the options from it.
    with_options.__dict__["__signature__"] = given.replace(parameters=[*own, *where])
    return with_options


def _copy(settings: Settings) -> None:
    """Copy the models from their URL; if that fails, go on with an earlier copy, or exit with one sentence."""
    from app.wiring.remote_models import mirror_of

    mirror = mirror_of(settings)
    try:
        mirror.copy()
    except (ServingError, OSError) as error:
        if not mirror.has_versions:
            fail(f"models cannot be copied: {error}")
        warning = f" models cannot be copied: {error}; this is the copy of an earlier look"
        Console(stderr=True).print(Text.assemble(("warning:", "yellow"), warning), soft_wrap=True)


def open_repository(settings: Settings) -> "Repository":
    """The models that the settings name; exits with one sentence if models.config or the base path is not valid."""
    from app.wiring.repository import repository_of

    try:
        return repository_of(settings)
    except VersionRefused as error:
        fail(error.message)


def check_models_dir(models_dir: Path) -> None:
    """Exit with one sentence if the directory does not exist."""
    if not models_dir.is_dir():
        fail(f"the models directory {str(models_dir)!r} does not exist; set it with --models-dir")


def read_settings(**flags: Any) -> Settings:
    """Settings from flags and environment; exits with one sentence for each mistake."""
    if os.environ.get("ATELIER_SERVICE_HOST"):
        fail(
            "Kubernetes has set variables for its Service named atelier, such as ATELIER_PORT; add enableServiceLinks: "
            "false to the pod"
        )
    if unknown := unknown_variables():
        known = [name.upper() for name in Settings.model_fields]
        near = get_close_matches(unknown[0].upper().removeprefix(PREFIX), known, n=1)
        hint = f"did you mean {PREFIX}{near[0]}?" if near else f"known: {', '.join(PREFIX + name for name in known)}"
        fail(f"unknown environment variable {unknown[0]}; {hint}")
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
        column.overflow = "fold"  # no word is cut off, even in a narrow terminal
    (console if sized else Console(width=200)).print(table)


def print_facts(heading: str, facts: Mapping[str, Text]) -> None:
    """Print a heading, and below it one line for each fact; long values wrap in a separate column."""
    Console(soft_wrap=True).print(Text(heading, style="bold"))
    table = Table(box=None, show_header=False, padding=(0, 0, 0, 2))
    for name, value in facts.items():
        table.add_row(name, value)
    print_table(table)
