"""The files of a version without a manifest, hashed now, once they have stopped changing."""

import os
import time
from collections.abc import Callable
from pathlib import Path
from stat import S_ISLNK, S_ISREG

from pydantic import ValidationError

from app.contract.files.private import hash_of
from app.contract.files.regular import Opener, open_regular, opened, shown, told
from app.contract.files.settled import Files, settled
from app.contract.files.tree import Entry, walk
from app.contract.manifest import VERSION_LIMIT_BYTES, FileEntry, Manifest
from app.errors import VersionRefused


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
        VersionRefused: the files change, are too many or too large, are not regular files, or cannot be read.
        OSError: they cannot be listed.
    """
    return _manifest(directory, lambda: _files(directory), opener, now, wait)


def list_file(
    path: Path,
    opener: Opener = open_regular,
    *,
    now: Callable[[], float] = time.time,
    wait: Callable[[float], None] = time.sleep,
) -> Manifest:
    """As ``list_files``, of a version that is a single file."""
    return _manifest(path.parent, lambda: [(path.name, path.stat())], opener, now, wait)


def _manifest(
    directory: Path,
    look: Callable[[], Files],
    opener: Opener,
    now: Callable[[], float],
    wait: Callable[[float], None],
) -> Manifest:
    if (total := sum(status.st_size for _, status in look())) > VERSION_LIMIT_BYTES:
        raise VersionRefused(f"{directory}: its files have {total} bytes; a version may have {VERSION_LIMIT_BYTES}")
    files = {}
    with settled(directory, look, now=now, wait=wait) as found:
        for name, status in found:
            if name.startswith(".") or "/." in name:  # a tool's temporary file: while it grows, a copy is in progress
                continue
            with told(directory / name), opened(directory / name, opener) as descriptor:
                sha256 = hash_of(directory / name, descriptor, size=os.fstat(descriptor).st_size)
            files[name] = FileEntry(size=status.st_size, sha256=sha256)
    try:
        return Manifest(files=files)
    except ValidationError as error:
        raise VersionRefused(f"{directory}: {error.errors()[0]['msg']}") from error


def check_links(directory: Path, inside: str) -> None:
    """Refuse links that lead out of a version, and links to directories, which are not followed.

    Args:
        directory: of the version.
        inside: file or directory in it whose files are read; "" is all of it.

    Raises:
        VersionRefused: names the first such link.
        OSError: the directory cannot be listed.
    """
    root = directory.resolve(strict=True)
    for entry in walk(directory):
        if entry.is_directory or entry.name.startswith(".") or "/." in entry.name:
            continue
        if inside and entry.name != inside and not entry.name.startswith(f"{inside}/"):
            continue
        if S_ISLNK(entry.status.st_mode) or not (directory / entry.name).resolve().is_relative_to(root):
            raise VersionRefused(
                f"{directory}: {shown(entry.name)} is a link to a directory, or leads out of the version; put a copy "
                "of the files in its place"
            )


def _files(directory: Path) -> list[tuple[str, os.stat_result]]:
    entries: list[Entry] = [each for each in walk(directory) if not each.is_directory]
    return sorted((each.name, each.status) for each in entries if S_ISREG(each.status.st_mode))
