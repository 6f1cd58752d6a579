"""Appends lines to the newest file of a model, begins the next one when it is full, and deletes the oldest.

Every call opens the file again under the lock of the directory: so all worker processes append to the same file, none
of them writes to one that was deleted, and the total size does not depend on their number.
"""

import errno
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from app.contract.recordings.directory import RecordingDirectory, Segment

_FLAGS = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
_LINE_END = b"\n"


def append(directory: RecordingDirectory, lines: Sequence[bytes], *, max_file_bytes: int, max_files: int) -> int:
    """Append the first of some lines, as many as fit one file. Blocks.

    Args:
        directory: made if it does not exist.
        lines: at least one, each with its end, none longer than ``max_file_bytes``.
        max_file_bytes: a file is not longer.
        max_files: files that are kept.

    Returns:
        How many lines were appended, at least one.

    Raises:
        OSError: none was; the file is as it was before.
    """
    with directory.locked(create=True):
        segments = directory.segments() or [directory.segment(1)]
        newest = segments[-1]
        if newest.path.exists() and newest.path.stat().st_size + len(lines[0]) > max_file_bytes:
            newest = directory.segment(newest.number + 1)
            segments.append(newest)
        count = _append(newest, lines, max_file_bytes)
        for segment in segments[:-max_files]:
            directory.remove(segment)
    return count


def _append(segment: Segment, lines: Sequence[bytes], max_file_bytes: int) -> int:
    with opened_to_append(segment.path) as descriptor:
        size = os.fstat(descriptor).st_size
        # The last line may be torn: its writer was killed.
        start = _LINE_END if size and os.pread(descriptor, 1, size - 1) != _LINE_END else b""
        count, nbytes = 1, size + len(start) + len(lines[0])
        while count < len(lines) and nbytes + len(lines[count]) <= max_file_bytes:
            nbytes += len(lines[count])
            count += 1
        append_whole(descriptor, start + b"".join(lines[:count]), size)
    return count


@contextmanager
def opened_to_append(path: Path) -> Iterator[int]:
    """A descriptor of a file, which is made if it does not exist, readable only by its owner.

    Raises:
        OSError: it cannot be opened, or is not a regular file.
    """
    descriptor = os.open(path, _FLAGS, 0o600)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "not a regular file", str(path))
        yield descriptor
    finally:
        os.close(descriptor)


def append_whole(descriptor: int, data: bytes, size: int) -> None:
    """Append all of ``data`` to a file of that size, or nothing; raises OSError then."""
    view = memoryview(data)
    try:
        while view:
            view = view[os.write(descriptor, view) :]
    except OSError:
        os.ftruncate(descriptor, size)
        raise
