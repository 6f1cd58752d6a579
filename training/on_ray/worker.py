"""What a process of Ray does: its part of the training, as ``--strategy multi-worker`` does it.

Ray Train has set TF_CONFIG before. The launcher gets what happens through a queue, as objects of the classes here.
"""

import io
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer
from rich.console import Console

from app.errors import ServingError
from training.errors import SettingRefused, TrainingError
from training.fit.distribution import VARIABLE, Kind, read_cluster
from training.runs.session import exit_code, train, trained_recipe


@dataclass(frozen=True, kw_only=True)
class Task:
    """The same for every worker.

    Attributes:
        recipe: its name, or the absolute path of its file.
        folder: the working directory, to which all other paths are relative.
        overrides: ``path=value`` as given.
        directory: of the run.
        width: of the console, in characters.
        variables: of the environment.
        options: further arguments of ``training.runs.session.train``.
    """

    recipe: str
    folder: Path
    overrides: tuple[str, ...]
    directory: Path
    width: int
    variables: Mapping[str, str]
    options: Mapping[str, Any]


@dataclass(frozen=True)
class Printed:
    """Text that worker 0 has printed."""

    text: str


@dataclass(frozen=True)
class Refused:
    """A worker ends with a mistake in its input, in one sentence."""

    index: int
    sentence: str


@dataclass(frozen=True)
class Ended:
    """Worker 0 has ended the run; ``code`` is the exit code of the command."""

    code: int


def take_part(config: Mapping[str, Any]) -> None:
    """Train as the worker that TF_CONFIG says.

    Args:
        config: ``task`` is a ``Task``; ``queue`` has ``put``, which takes the objects of this module.

    Raises:
        TrainingError, ServingError: as the command does; the queue has its sentence.
    """
    task, put = config["task"], config["queue"].put
    index, _ = read_cluster(os.environ.get(VARIABLE))
    console = Console(file=_Printing(put), width=task.width) if index == 0 else Console(quiet=True)
    try:
        _enter(task)
        outcome = train(
            trained_recipe(task.recipe),
            task.overrides,
            task.directory,
            console,
            strategy=Kind.MULTI_WORKER,
            **task.options,
        )
    except typer.Exit:  # a worker that is not the chief
        return
    except (TrainingError, ServingError) as error:
        put(Refused(index, str(error)))
        raise
    put(Ended(exit_code(outcome, **{name: task.options[name] for name in ("test", "force", "repository")})))


def _enter(task: Task) -> None:
    os.environ.update(task.variables)
    try:
        os.chdir(task.folder)
    except OSError as error:
        raise SettingRefused(
            f"cannot use {task.folder}, the folder in which the command was started: {error.strerror}; it must have "
            "the same path on each machine"
        ) from error


class _Printing(io.StringIO):
    """A file for a console; what is printed at once is one object in the queue."""

    def __init__(self, put: Callable[[Printed], None]) -> None:
        super().__init__()
        self._put = put

    def flush(self) -> None:
        """Send what was written since the last time; the console calls this after each print."""
        text = self.getvalue()
        self.seek(0)
        self.truncate()
        if text:
            self._put(Printed(text))
