"""Which models and versions are in the repository directory."""

import logging
import os
import stat
from collections.abc import Hashable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from app.contract.files.settled import marks_of
from app.contract.files.tree import MODEL_ENTRIES, Entry, walk
from app.errors import InvalidInput, VersionRefused
from app.repository.layouts import Layout, layout_of
from app.repository.places import FILE_VERSION, Place, Places
from app.repository.policy import POLICY_FILE
from app.repository.triton import WARMUP_DIRECTORY
from app.repository.version_directories import LARGEST_VERSION, numbered_directories, version_of

log = logging.getLogger("atelier.repository")


def scan(places: Places) -> dict[str, list[int]]:
    """Model name -> version numbers, newest first.

    A version is a directory named by a whole number, in one of the forms of ``layouts``; anything else (a copy in
    progress, a publisher's temporary directory) does not exist. Of several directories with one number, such as 7 and
    007, one counts, and the log names the others. A model without a version is left out; one that cannot be read too,
    and the log has the reason. A model that is a single file has one version.
    """
    models = {}
    for place in places.all():
        try:
            _, versions, hidden = _versions(place)
        except OSError as error:
            log.warning("model %s cannot be read: %s", place.name, error.strerror)
            continue
        for directory, others in hidden.items():
            for each in others:
                places.tell_of_hidden(place.name, f"the directory {directory}", f"the directory {each}")
        if versions:
            models[place.name] = versions
    return models


def without_versions(places: Places) -> list[str]:
    """Names of the models that ``scan`` leaves out because they have no version, sorted."""
    names = []
    for place in places.all():
        with suppress(OSError):  # scan has logged the reason
            if not _versions(place)[1]:
                names.append(place.name)
    return names


@dataclass(frozen=True)
class Unreadable:
    """In place of a fingerprint: the reason why it could not be read."""

    reason: str


def snapshot(places: Places) -> dict[str, Hashable]:
    """Model name -> fingerprint, which differs if its serving.json or a file of its versions has changed.

    An ``Unreadable`` takes the place of what cannot be read, or has too many files; the other models are not concerned.
    """
    return {place.name: _model_fingerprint(place) for place in places.all()}


def directories(places: Places) -> list[Path]:
    """The directories to watch for changes of files: of models and of versions, without hidden ones."""
    found = list(places.roots)
    for model in (place.directory for place in places.all() if place.file is None):
        found.append(model)
        with suppress(OSError, VersionRefused):  # the snapshot contains the reason
            for entry in walk(model, limit=MODEL_ENTRIES, hidden=False):
                if entry.is_directory:
                    found.append(model / entry.name)
                elif _is_version_link(entry):
                    found.append(model / entry.name)
                    below = walk(model / entry.name, hidden=False)
                    found += [model / entry.name / each.name for each in below if each.is_directory]
    return found


def _model_fingerprint(place: Place) -> Hashable:
    if place.file is not None:
        return file_fingerprint(place.file)
    directory = place.directory
    try:
        entries = list(walk(directory, limit=MODEL_ENTRIES, hidden=False))
    except (OSError, VersionRefused) as error:
        return Unreadable(str(error))
    linked = [(entry.name, fingerprint(directory / entry.name)) for entry in entries if _is_version_link(entry)]
    return _marks(entries), tuple(sorted(linked)), repr(place)


def file_fingerprint(path: Path) -> Hashable:
    """As ``fingerprint``, of a version that is a single file."""
    try:
        return _marks([Entry(name=path.name, is_directory=False, status=path.stat())])
    except OSError as error:
        return Unreadable(str(error))


def fingerprint(directory: Path) -> Hashable:
    """A fingerprint: differs if a file below a version's directory was added, removed or changed, by size and time.

    Names that start with a dot do not count: they are of publications in progress. Links to directories are not
    followed. An ``Unreadable`` if there are too many files, or they cannot be listed.
    """
    try:
        marks = _marks(walk(directory, hidden=False))
        return (marks, _beside(directory.parent)) if layout_of(directory) is Layout.FOREIGN else marks
    except (OSError, VersionRefused) as error:
        return Unreadable(str(error))


def _beside(model_directory: Path) -> Hashable:
    """The files next to the versions that another tool wrote: settings, labels and samples."""
    with os.scandir(model_directory) as found:
        files = [each for each in islice(found, MODEL_ENTRIES) if each.is_file() and each.name != POLICY_FILE]
        entries = [
            Entry(name=each.name, is_directory=False, status=each.stat()) for each in files if each.name[0] != "."
        ]
    samples = model_directory / WARMUP_DIRECTORY
    return _marks(entries), _marks(walk(samples, hidden=False)) if samples.is_dir() else ()


def _marks(entries: Iterable[Entry]) -> Hashable:
    files = [(entry.name, entry.status) for entry in entries if not entry.is_directory]
    return marks_of(sorted(files, key=lambda file: file[0]))


def _is_version_link(entry: Entry) -> bool:
    """Whether it is a link to a directory in the place of a version: those are followed, unlike any others."""
    return stat.S_ISLNK(entry.status.st_mode) and version_of(entry.name) is not None


def version_number(text: str) -> int:
    """The version that a client names, without leading zeros, whatever its directory is called.

    Raises:
        InvalidInput: anything else, so that one version has one name.
    """
    version = version_of(text)
    if version is None or str(version) != text:
        raise InvalidInput(
            f"{text!r} is not a version; write a whole number from 0 to {LARGEST_VERSION}, without leading zeros"
        )
    return version


def layout(place: Place) -> Layout:
    """The layout of the versions of a model: they are all of one; of a model that cannot be read, another tool's."""
    try:
        return _versions(place)[0]
    except OSError:
        return Layout.FOREIGN


def _versions(place: Place) -> tuple[Layout, list[int], dict[str, list[str]]]:
    """The layout of the versions of a model, their numbers, newest first, and directory -> others with its number."""
    if place.file is not None:
        return Layout.FOREIGN, [FILE_VERSION], {}
    found_as: dict[Layout, list[int]] = {each: [] for each in Layout}
    numbered = numbered_directories(place.directory)
    for number, (name, *_) in numbered.items():
        if (kind := layout_of(place.directory / name)) is not None:
            found_as[kind].append(number)
    # Next to a version with a manifest, a graph alone is the first file of another one that is being copied.
    kind_of_all = Layout.ATELIER if found_as[Layout.ATELIER] else Layout.FOREIGN
    hidden = {name: others for name, *others in numbered.values() if others}
    return kind_of_all, sorted(found_as[kind_of_all], reverse=True), hidden
