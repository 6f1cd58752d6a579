"""Writes a file all or nothing: a reader sees the old file or the new one, never a part of either."""

import os
import tempfile
from pathlib import Path


def write_whole(path: Path, data: bytes, *, mode: int = 0o644) -> None:
    """Write a temporary sibling, bring it to the disk, and let it take the file's place.

    Args:
        path: of the file.
        data: its content.
        mode: permissions of a file that does not exist yet; another one keeps its own.

    Raises:
        OSError: it cannot be written; what was there stays.
    """
    mode = path.stat().st_mode & 0o777 if path.exists() else mode
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    temporary = Path(name)
    try:
        with open(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fchmod(descriptor, mode)
            os.fsync(descriptor)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)  # so that the rename survives a power cut too
    finally:
        os.close(directory)
