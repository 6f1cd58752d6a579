"""Processes that have TensorFlow from their start: forks of one that has imported it and done nothing else.

An ordinary process imports it for three seconds of processor time. Tests of what a process prints on its own, and of
its start, use ordinary ones.
"""

import os
import runpy
import signal
import sys
from collections.abc import Mapping, Sequence
from multiprocessing import forkserver, get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Self
from unittest.mock import patch

ROOT = Path(__file__).parents[2]
_FORKS = get_context("forkserver")
_FORKS.set_forkserver_preload(["tests.support.forked_training", "tensorflow", "tf_keras"])


class ForkedTraining:
    """A command of Python with what it prints, ``stdout``: both streams in one. On leaving the context it is killed.

    Args:
        arguments: ``-m`` and the name of a module, or the path of a script; then its own arguments.
        cwd: the working directory.
        variables: of the environment, next to those of this process.
    """

    def __init__(self, arguments: Sequence[object], *, cwd: Path, variables: Mapping[str, str] | None = None) -> None:
        _start_server()
        heard, said = _FORKS.Pipe(duplex=False)
        environment = {**os.environ, "COLUMNS": "200", **(variables or {})}
        self._process = _FORKS.Process(
            target=_run, args=([str(argument) for argument in arguments], str(cwd), environment, said)
        )
        self._process.start()
        said.close()
        self.stdout = os.fdopen(os.dup(heard.fileno()), encoding="utf-8")
        heard.close()

    @property
    def pid(self) -> int:
        """Its number."""
        return self._process.pid

    def poll(self) -> int | None:
        """The exit code, negative for a signal; None while it runs."""
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int | None:
        """The exit code once it has ended; None after so many seconds."""
        self._process.join(timeout)
        return self._process.exitcode

    def send_signal(self, sig: int) -> None:
        """Send a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, sig)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.join()
        self.stdout.close()


def _start_server() -> None:
    """Start what is forked, unless it runs. It finds these tests wherever it starts: it takes no path from here."""
    places = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    with patch.dict(os.environ, {"PYTHONPATH": places}):
        forkserver.ensure_running()


def _run(arguments: list[str], directory: str, environment: dict[str, str], said: Connection) -> None:
    """What the process does."""
    for stream in (1, 2):
        os.dup2(said.fileno(), stream)
    said.close()
    for file in (sys.stdout, sys.stderr):
        file.reconfigure(line_buffering=True)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(directory)
    if arguments[0] == "-m":
        sys.argv = arguments[1:]
        runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv = arguments
        runpy.run_path(arguments[0], run_name="__main__")
