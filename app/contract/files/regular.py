"""Reads files that others wrote: only regular files, size checked before reading, names made printable.

A user with write access to the models directory can also put a FIFO, a device, a link to one, or a file of any size
there. No function here waits for another process or uses more memory than its caller allows.
"""

import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from app.errors import VersionRefused

Opener = Callable[[Path], int]

# Larger files are read with one buffer of this size.
CHUNK_BYTES = 2**20
_LONGEST_NAME = 400


def open_regular(path: Path) -> int:
    """A descriptor of a regular file, or of the target of a link.

    Raises:
        VersionRefused: it is not a regular file.
        OSError: it does not exist, or cannot be opened.
    """
    # Without O_NONBLOCK, opening a FIFO waits until another process writes to it.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    try:
        mode = os.fstat(descriptor).st_mode
        if not stat.S_ISREG(mode):
            raise VersionRefused(f"{shown(path)} is {_kind(mode)}; it must be a regular file")
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


@contextmanager
def opened(path: Path, opener: Opener = open_regular) -> Iterator[int]:
    """The descriptor from ``opener``, closed at the end."""
    descriptor = opener(path)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def told(path: Path) -> Iterator[None]:
    """Convert errors of the disk to a refusal that names a path."""
    try:
        yield
    except OSError as error:
        raise VersionRefused(f"{shown(path)}: {error}") from error


def read_file(path: Path, limit_bytes: int, *, opener: Opener = open_regular) -> bytes:
    """The content of a regular file.

    Args:
        path: file, or a link to one.
        limit_bytes: a larger file is not read.
        opener: opens it.

    Raises:
        VersionRefused: it is not a regular file, or too large; names the file, its size and the limit.
        OSError: it does not exist, or cannot be read.
    """
    with opened(path, opener) as descriptor:
        size = os.fstat(descriptor).st_size
        if size > limit_bytes:
            raise VersionRefused(f"{shown(path)} has {size} bytes; at most {limit_bytes} bytes are read")
        data = b"".join(chunks(descriptor, limit_bytes + 1))
    if len(data) > limit_bytes:
        raise VersionRefused(f"{shown(path)} grows while it is read; at most {limit_bytes} bytes are read")
    return data


def chunks(descriptor: int, limit_bytes: int) -> Iterator[bytes]:
    """The content from the current position on, at most ``limit_bytes``, in pieces."""
    left = limit_bytes
    while left > 0 and (data := os.read(descriptor, min(left, CHUNK_BYTES))):
        left -= len(data)
        yield data


def shown(name: str | Path) -> str:
    """A name in a form for messages and logs: one printable line of at most 400 characters.

    A file name may contain line ends, or bytes that are not text.
    """
    text = str(name)
    text = text if text.isprintable() else ascii(text)
    return text if len(text) <= _LONGEST_NAME else f"{text[: _LONGEST_NAME // 2]}...{text[-_LONGEST_NAME // 2 :]}"


def _kind(mode: int) -> str:
    kinds = {
        stat.S_IFDIR: "a directory",
        stat.S_IFIFO: "a FIFO",
        stat.S_IFSOCK: "a socket",
        stat.S_IFCHR: "a device",
        stat.S_IFBLK: "a device",
    }
    return kinds.get(stat.S_IFMT(mode), "not a file")
