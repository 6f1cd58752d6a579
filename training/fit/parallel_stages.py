"""Stages that train in parallel with the following ones, each in its own process.

The threads of one small network wait for each other much of the time; a second network uses that time. Every process
has as many threads as one that trains alone, so that the weights have the same bits either way. Importing this module
does not import TensorFlow: the new process first sets TensorFlow's log level.
"""

import os
import signal
from collections.abc import Callable
from dataclasses import replace
from io import StringIO
from multiprocessing import get_context, parent_process
from multiprocessing.connection import Connection
from pathlib import Path
from threading import Thread
from typing import Self

from rich.console import Console

from training.datasets.splits import Examples, Splits
from training.environment import quiet_tensorflow
from training.errors import StageDied
from training.recipe.recipe import Inherited, Recipe, Stage

WIDTH = 200
STOP_S = 10.0
_SPAWN = get_context("spawn")  # TensorFlow's threads do not survive a fork


class ParallelStages:
    """The stages that train in parallel; on leaving the context those that still run are stopped.

    Args:
        console: shows their output, after the stage's name.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._stages: list[_Process] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for stage in self._stages:
            stage.stop()

    def train(self, recipe: Recipe, stage: Stage, splits: Splits, inherited: Inherited, *, directory: Path) -> None:
        """Start a stage of the recipe in the run's ``directory``; ``inherited``: weights that it may start with."""
        self._console.print(f"stage {stage.name} trains in parallel, in its own process", highlight=False)
        self._stages.append(_Process(recipe, stage, splits, inherited, directory))

    def listen(self) -> None:
        """Print their output so far.

        Raises:
            Exception: the exception that ended one of them.
        """
        for stage in self._stages:
            stage.listen(self._print, wait=False)

    def wait(self) -> None:
        """Return when all have ended; otherwise like ``listen``."""
        for stage in self._stages:
            stage.listen(self._print, wait=True)

    def _print(self, line: str) -> None:
        self._console.print(line, highlight=False, markup=False, soft_wrap=True)


class _Process:
    """One stage in its process."""

    def __init__(self, recipe: Recipe, stage: Stage, splits: Splits, inherited: Inherited, directory: Path) -> None:
        self._name = stage.name
        self._heard, said = _SPAWN.Pipe(duplex=False)
        # daemon: Python's exit does not wait for it
        self._process = _SPAWN.Process(
            target=_train,
            args=(recipe, stage.name, replace(splits, read_test=_no_test_part), dict(inherited), directory, said),
            daemon=True,
        )
        self._process.start()
        said.close()
        self._ended = False

    def listen(self, tell: Callable[[str], None], *, wait: bool) -> None:
        while not self._ended and (wait or self._heard.poll()):
            try:
                heard = self._heard.recv()
            except EOFError:
                self._process.join()
                raise StageDied(
                    f"stage {self._name}: its process ended with exit code {self._process.exitcode} (negative: a "
                    "signal); the same command with --resume continues after its last checkpoint"
                ) from None
            if isinstance(heard, Exception):
                raise heard
            self._ended = heard is None
            if heard:
                tell(f"{self._name}: {heard}")

    def stop(self) -> None:
        if not self._ended:
            self._process.terminate()
        self._process.join(STOP_S)
        self._heard.close()


def _train(recipe: Recipe, name: str, splits: Splits, inherited: Inherited, directory: Path, said: Connection) -> None:
    """Main function of the process: sends each printed line, and at the end None or the exception that ended it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches both processes; the other one stops this one
    Thread(target=_end_with_parent, daemon=True).start()
    try:
        quiet_tensorflow()
        from training.fit.stages import train_stage

        stage = next(stage for stage in recipe.stages if stage.name == name)
        feed = recipe.pipeline.bind(splits.train, classes=splits.classes)
        console = Console(file=_Lines(said), width=WIDTH)
        train_stage(recipe, stage, feed, splits, inherited, directory=directory, console=console)
        said.send(None)
    except Exception as error:  # noqa: BLE001 - the boundary of the process: the parent raises it
        said.send(error)


def _no_test_part() -> Examples:
    raise AssertionError("a stage does not read the test part")


def _end_with_parent() -> None:
    """End with a parent that was killed."""
    parent = parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


class _Lines(StringIO):
    """A text file that sends every written line."""

    def __init__(self, said: Connection) -> None:
        super().__init__()
        self._said = said
        self._rest = ""

    def write(self, text: str) -> int:
        *lines, self._rest = (self._rest + text).split("\n")
        for line in lines:
            if line.strip():
                self._said.send(line.rstrip())
        return len(text)
