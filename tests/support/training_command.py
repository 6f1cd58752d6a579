"""``python -m training`` in this process: a new one imports TensorFlow for six seconds and traces every graph."""

import io
import os
import sys
from contextlib import chdir, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch


@dataclass(frozen=True)
class Ended:
    """A command that has ended: its exit code and what it has written."""

    code: int
    out: str
    err: str


def run_training(*arguments: str, cwd: Path, columns: int = 200) -> Ended:
    """Run a command in a directory. What native code writes to the standard error stream is not in it.

    Args:
        arguments: of the command.
        cwd: the working directory.
        columns: width of the terminal.
    """
    from training.cli import main

    out, err, code = io.StringIO(), io.StringIO(), None
    variables = patch.dict(os.environ, {"COLUMNS": str(columns)})
    argv = patch.object(sys, "argv", ["training", *arguments])
    with chdir(cwd), redirect_stdout(out), redirect_stderr(err), variables, argv:
        try:
            main()
        except SystemExit as ended:
            code = ended.code
    assert isinstance(code, int | None)
    return Ended(code or 0, out.getvalue(), err.getvalue())
