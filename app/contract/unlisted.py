"""The files of a version that comes without a manifest, hashed now, once they have stopped changing."""

import os
import time
from collections.abc import Callable, Hashable
from pathlib import Path
from stat import S_ISREG

from pydantic import ValidationError

from app.contract.files.private import hash_of
from app.contract.files.regular import Opener, open_regular, opened
from app.contract.files.tree import Entry, walk
from app.contract.manifest import FileEntry, Manifest
from app.errors import VersionRefused

# Seconds for which no file may have changed: a copy in progress writes more often.
SETTLED_S = 1.0


def list_files(
    directory: Path,
    opener: Opener = open_regular,
    *,
    now: Callable[[], float] = time.time,
    wait: Callable[[float], None] = time.sleep,
) -> Manifest:
    """A manifest of the files as they are; waits until the newest of them is a second old. Blocks.

    Args:
        directory: of the version.
        opener: opens its files.
        now: seconds since the epoch, as in the status of files.
        wait: sleeps.

    Raises:
        VersionRefused: the files change meanwhile, are too many or too large, or are not regular files.
        OSError: they cannot be read.
    """
    before = _files(directory)
    newest = max((status.st_ctime for _, status in before), default=0.0)
    wait(min(SETTLED_S, max(0.0, newest + SETTLED_S - now())))
    files = {}
    for name, status in before:
        if name.startswith(".") or "/." in name:  # a tool's own file: while it grows, a copy is in progress
            continue
        with opened(directory / name, opener) as descriptor:
            sha256 = hash_of(directory / name, descriptor, size=os.fstat(descriptor).st_size)
        files[name] = FileEntry(size=status.st_size, sha256=sha256)
    if _marks(_files(directory)) != _marks(before):
        raise VersionRefused(f"{directory}: its files are still changing")
    try:
        return Manifest(files=files)
    except ValidationError as error:
        raise VersionRefused(f"{directory}: {error.errors()[0]['msg']}") from error


def _files(directory: Path) -> list[tuple[str, os.stat_result]]:
    entries: list[Entry] = [each for each in walk(directory) if not each.is_directory]
    return sorted((each.name, each.status) for each in entries if S_ISREG(each.status.st_mode))


def _marks(files: list[tuple[str, os.stat_result]]) -> Hashable:
    return tuple((name, each.st_size, each.st_mtime_ns, each.st_ctime_ns, each.st_ino) for name, each in files)
