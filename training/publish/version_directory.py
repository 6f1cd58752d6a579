"""Adds a version to a model's directory in one step: written to a temporary directory, synced, then renamed.

A reader sees either no version or a complete one, even if the writer is killed at any moment. The temporary
directory's name starts with a dot and is not an integer, so no server takes it for a version;
``app.contract.files.private`` distinguishes leftovers of a killed writer from work in progress.
"""

import errno
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from app.contract.files.private import private_directory, sweep

TEMPORARY_PREFIX = ".publishing-"

_OCCUPIED = {errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR, errno.EISDIR}


def add_version(parent: Path, *, write: Callable[[Path], None], model_files: Mapping[str, str]) -> Path:
    """Write the next version below ``parent`` and return its directory.

    Args:
        parent: directory of one model; created if missing. The version's number is one above the highest existing one.
        write: fills the given directory; may raise to give up.
        model_files: file name -> text of files of the model as a whole, each replaced in one step after the version
            exists; ``write`` may add to it.

    Raises:
        OSError: the disk; also raises the errors of ``write``. In every case, and on Ctrl-C, existing files stay
            unchanged and nothing else is left.
    """
    sweep(parent, TEMPORARY_PREFIX)
    with _parent_directory(parent), private_directory(parent, TEMPORARY_PREFIX) as temporary:
        directory = temporary / "version"
        directory.mkdir()
        write(directory)
        for name, text in model_files.items():
            (temporary / name).write_text(text, encoding="utf-8", newline="\n")
        _settle(temporary)
        target = _claim(directory, parent)
        for name in model_files:
            os.replace(temporary / name, parent / name)
        _sync(parent)
    return target


def _claim(directory: Path, parent: Path) -> Path:
    """Rename ``directory`` to the next free number. A rename to an existing version fails, so none is overwritten."""
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
    """Create the model's directory, and remove it again if it stays empty."""
    parent.mkdir(parents=True, exist_ok=True)
    try:
        yield
    except BaseException:
        with suppress(OSError):  # it contains versions, or another writer's work
            parent.rmdir()
        raise


def _settle(directory: Path) -> None:
    """Give everything below ``directory`` the usual permissions and sync it to the disk, leaves first."""
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
