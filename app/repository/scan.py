"""Which models and versions are in the repository directory."""

import errno
import logging
import os
import re
import stat
from collections.abc import Hashable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from app.contract.files.tree import Entry, walk
from app.errors import InvalidInput, VersionRefused
from app.repository.layouts import MOST_ENTRIES, Layout, layout_of
from app.repository.policy import POLICY_FILE

log = logging.getLogger("atelier.repository")

_VERSION = re.compile(r"[1-9][0-9]{0,17}")


def scan(models_dir: Path) -> dict[str, list[int]]:
    """Model name -> version numbers, newest first.

    A version is a directory named by an integer without a leading zero, in one of the forms of ``layouts``; anything
    else (a copy in progress, a publisher's temporary directory) does not exist. A model without a version is left out;
    one that cannot be read too, and the log says why.
    """
    models = {}
    for directory in _models(models_dir):
        try:
            versions = _versions(directory)
        except OSError as error:
            log.warning("model %s cannot be read: %s", directory.name, error.strerror)
            continue
        if versions:
            models[directory.name] = versions
    return models


@dataclass(frozen=True)
class Unreadable:
    """In place of a fingerprint: why there is none."""

    reason: str


def snapshot(models_dir: Path) -> dict[str, Hashable]:
    """Model name -> something other than before if its serving.json or a file of its versions has changed.

    An ``Unreadable`` takes the place of what cannot be read, or has too many files; the other models are not concerned.
    """
    return {directory.name: _model_fingerprint(directory) for directory in _models(models_dir)}


def directories(models_dir: Path) -> list[Path]:
    """The directories in which a file that matters may change: of models and of versions, without hidden ones."""
    found = [models_dir]
    for model in _models(models_dir):
        found.append(model)
        with suppress(OSError, VersionRefused):  # the snapshot says so
            for entry in walk(model, limit=MOST_ENTRIES, hidden=False):
                if entry.is_directory:
                    found.append(model / entry.name)
                elif _is_version_link(entry):
                    found.append(model / entry.name)
                    below = walk(model / entry.name, hidden=False)
                    found += [model / entry.name / each.name for each in below if each.is_directory]
    return found


def _models(models_dir: Path) -> list[Path]:
    """Directories, and links to directories, that can have the name of a model."""
    try:
        with os.scandir(models_dir) as found:
            names = [each.name for each in found if not each.name.startswith(".") and _is_directory(each)]
    except (FileNotFoundError, NotADirectoryError):
        return []
    # A name that cannot be printed can be no model's, and would break every list that it is part of.
    return [models_dir / name for name in sorted(names) if name.isprintable()]


def _is_directory(entry: "os.DirEntry[str]") -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link into a directory that is not ours to read, or in a circle
        return False


def _model_fingerprint(directory: Path) -> Hashable:
    try:
        entries = list(walk(directory, limit=MOST_ENTRIES, hidden=False))
    except (OSError, VersionRefused) as error:
        return Unreadable(str(error))
    linked = [(entry.name, fingerprint(directory / entry.name)) for entry in entries if _is_version_link(entry)]
    return _marks(entries), tuple(sorted(linked))


def fingerprint(directory: Path) -> Hashable:
    """Other than before if a file below a version's directory has come, gone or changed, judged by size and time.

    Names that begin with a dot do not count: they are of publications in progress. Links to directories are not
    followed. An ``Unreadable`` if there are too many files, or they cannot be listed.
    """
    try:
        marks = _marks(walk(directory, hidden=False))
        return (marks, _beside(directory.parent)) if layout_of(directory) is Layout.BARE else marks
    except (OSError, VersionRefused) as error:
        return Unreadable(str(error))


def _beside(model_directory: Path) -> Hashable:
    """The files next to the versions that another tool wrote: settings and labels."""
    with os.scandir(model_directory) as found:
        files = [each for each in islice(found, MOST_ENTRIES) if each.is_file() and each.name != POLICY_FILE]
        entries = [
            Entry(name=each.name, is_directory=False, status=each.stat()) for each in files if each.name[0] != "."
        ]
    return _marks(entries)


def _marks(entries: Iterable[Entry]) -> Hashable:
    files = [(entry.name, entry.status) for entry in entries if not entry.is_directory]
    return tuple(sorted((name, each.st_size, each.st_mtime_ns, each.st_ctime_ns, each.st_ino) for name, each in files))


def _is_version_link(entry: Entry) -> bool:
    """Whether it is a link to a directory in the place of a version: those are followed, unlike any others."""
    return stat.S_ISLNK(entry.status.st_mode) and _VERSION.fullmatch(entry.name) is not None


def version_number(text: str) -> int:
    """The version that a client names, written as its directory is.

    Raises:
        InvalidInput: anything else, so that one version has one name.
    """
    if not _VERSION.fullmatch(text):
        raise InvalidInput(
            f"{text!r} is not a version; write a whole number from 1, in 1 to 18 digits, without leading zeros"
        )
    return int(text)


def _versions(model_directory: Path) -> list[int]:
    found_as: dict[Layout, list[int]] = {layout: [] for layout in Layout}
    with os.scandir(model_directory) as found:
        for count, entry in enumerate(found):
            if count == MOST_ENTRIES:
                raise OSError(errno.E2BIG, f"more than {MOST_ENTRIES} files in it")
            if _VERSION.fullmatch(entry.name) and (layout := layout_of(model_directory / entry.name)) is not None:
                found_as[layout].append(int(entry.name))
    # Next to a version with a manifest, a graph alone is the beginning of another one that is being copied.
    return sorted(found_as[Layout.ATELIER] or found_as[Layout.BARE], reverse=True)
