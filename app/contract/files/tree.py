"""Walks directories that others wrote: limited number of entries, limited depth, at most one link followed."""

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from app.contract.files.regular import shown
from app.errors import VersionRefused

# Entries of all kinds below one version, and below one model in all its versions; depth of nested directories.
VERSION_ENTRIES = 4096
MODEL_ENTRIES = 2**16
DEEPEST = 16


class Entry(NamedTuple):
    """An entry of a directory.

    Attributes:
        name: relative path, with / between its parts.
        is_directory: whether it is a directory, not a link to one.
        status: of a link's target; of the link itself if the target is missing or is a directory.
    """

    name: str
    is_directory: bool
    status: os.stat_result


def walk(directory: Path, *, limit: int = VERSION_ENTRIES, hidden: bool = True) -> Iterator[Entry]:
    """Everything below a directory, which may be a link. Links to directories are entries and are not followed.

    Args:
        directory: where to start.
        limit: most entries.
        hidden: whether to include names that start with a dot.

    Raises:
        VersionRefused: more entries than ``limit``, or more than 16 directories in each other.
        OSError: the directory cannot be listed.
    """
    seen = 0
    pending = [("", 0)]
    while pending:
        prefix, depth = pending.pop()
        for entry in _listed(directory, prefix):
            if not hidden and entry.name[len(prefix) :].startswith("."):
                continue
            seen += 1
            if seen > limit:
                raise VersionRefused(f"{shown(directory)} has more than {limit} files and directories below it")
            if entry.is_directory:
                if depth == DEEPEST:
                    raise VersionRefused(f"{shown(directory)} has directories more than {DEEPEST} deep")
                pending.append((f"{entry.name}/", depth + 1))
            yield entry


def _listed(directory: Path, prefix: str) -> Iterator[Entry]:
    gone = (FileNotFoundError, NotADirectoryError) if prefix else ()  # removed since its parent was listed
    with suppress(*gone), os.scandir(directory / prefix) as found:
        for each in found:
            entry = _entry(prefix + each.name, each)
            if entry is not None:
                yield entry


def _entry(name: str, found: "os.DirEntry[str]") -> Entry | None:
    """The status; None if the entry has been removed."""
    try:
        is_directory = found.is_dir(follow_symlinks=False)
        try:
            status = found.stat()
            if found.is_symlink() and found.is_dir():
                status = found.stat(follow_symlinks=False)
        except OSError:  # a dangling or circular link
            status = found.stat(follow_symlinks=False)
    except OSError:
        return None
    return Entry(name, is_directory, status)
