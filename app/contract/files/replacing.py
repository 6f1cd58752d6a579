"""Writes a file all or nothing: a reader sees the old file or the new one, never a part of either."""

import os
import tempfile
from contextlib import suppress
from pathlib import Path


def write_whole(path: Path, data: bytes, *, mode: int = 0o644) -> None:
    """Write a temporary sibling, bring it to the disk, and let it take the file's place.

    Args:
        path: of the file.
        data: its content.
        mode: permissions of a file that does not exist yet. Another one keeps its own, and its owner and group if this
            process may give it to them.

    Raises:
        OSError: it cannot be written; what was there stays.
    """
    before = path.stat() if path.exists() else None
    mode = mode if before is None else before.st_mode & 0o777
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    temporary = Path(name)
    try:
        with open(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            if before is not None:
                with suppress(PermissionError):
                    os.fchown(descriptor, before.st_uid, before.st_gid)
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
