"""Writes to a disk that may be full: files replaced in one step, and errors with the remedy."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from training.errors import DiskFull

_FULL = {errno.ENOSPC, errno.EDQUOT}
_TENSORFLOW_SAYS = tuple(os.strerror(number) for number in _FULL)


@contextmanager
def replaced(path: Path) -> Iterator[Path]:
    """A file to write to, which replaces ``path`` in one step when the body ends.

    If the body raises, ``path`` stays unchanged and no other file is left; an OSError without a file name gets that of
    ``path``.
    """
    temporary = path.with_name(f".{path.name}")
    try:
        yield temporary
        os.replace(temporary, path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename is None:
            error.filename = str(path)
        raise


@contextmanager
def space_wanted(what: str, advice: str) -> Iterator[None]:
    """Turn the error of a full disk, from Python or from TensorFlow, into a sentence.

    Args:
        what: the file being written, for errors that name no file.
        advice: end of the sentence.

    Raises:
        DiskFull: the disk is full, or the user's share of it.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in _FULL:
            raise
        raise DiskFull(f"no space is left for {error.filename or what}; {advice}") from error
    except Exception as error:
        if not any(sentence in str(error) for sentence in _TENSORFLOW_SAYS):
            raise
        raise DiskFull(f"no space is left for {what}; {advice}") from error
