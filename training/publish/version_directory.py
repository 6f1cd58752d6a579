"""Add a version to a model's directory in one step: written aside, synced, then one rename.

A reader sees either no version or a whole one, whatever kills the writer and when. The temporary directory's name
starts with a dot and is no integer, so no server takes it for a version; ``app.contract.files.private`` tells what a
killed writer left from work in progress.
"""

import errno
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from app.contract.files.private import private_directory, sweep

TEMPORARY_PREFIX = ".publishing-"

_OCCUPIED = {errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR, errno.EISDIR}


def add_version(parent: Path, *, write: Callable[[Path], None], beside: Mapping[str, str]) -> Path:
    """Write the next version below ``parent`` and return its directory.

    Args:
        parent: directory of one model; made if missing. The version's number is one above the highest there is.
        write: fills the directory that it is given; may raise to give up.
        beside: file name -> text of files of the model as a whole, each replaced in one step after the version
            is there.

    Raises:
        OSError: the disk; or what ``write`` raises. In every case, and on Ctrl-C, what was there before is
            unchanged and nothing else is left.
    """
    sweep(parent, TEMPORARY_PREFIX)
    with _parent_directory(parent), private_directory(parent, TEMPORARY_PREFIX) as temporary:
        directory = temporary / "version"
        directory.mkdir()
        write(directory)
        for name, text in beside.items():
            (temporary / name).write_text(text, encoding="utf-8", newline="\n")
        _settle(temporary)
        target = _claim(directory, parent)
        for name in beside:
            os.replace(temporary / name, parent / name)
        _sync(parent)
    return target


def _claim(directory: Path, parent: Path) -> Path:
    """Rename ``directory`` to the next free number. A rename onto a version fails, so none is ever overwritten."""
    while True:
        taken = [int(path.name) for path in parent.iterdir() if path.name.isascii() and path.name.isdecimal()]
        target = parent / str(max(taken, default=0) + 1)
        try:
            os.rename(directory, target)
        except OSError as error:
            if error.errno not in _OCCUPIED:
                raise
        else:
            return target


@contextmanager
def _parent_directory(parent: Path) -> Iterator[None]:
    """Make the model's directory, and take it away again if nothing came of it."""
    parent.mkdir(parents=True, exist_ok=True)
    try:
        yield
    except BaseException:
        with suppress(OSError):  # it holds versions, or another writer's work
            parent.rmdir()
        raise


def _settle(directory: Path) -> None:
    """Give everything below ``directory`` the usual permissions and force it to the disk, leaves first."""
    for root, _, files in os.walk(directory, topdown=False):
        for name in files:
            path = Path(root, name)
            path.chmod(0o644)
            _sync(path)
        Path(root).chmod(0o755)
        _sync(Path(root))


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
