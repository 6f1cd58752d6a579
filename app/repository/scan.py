"""Which models and versions lie in the repository directory."""

import logging
import os
import re
from collections.abc import Hashable
from contextlib import suppress
from pathlib import Path

from app.contract.manifest import MANIFEST_FILE
from app.errors import InvalidInput

log = logging.getLogger("atelier.repository")

_VERSION = re.compile(r"[1-9][0-9]{0,17}")


def scan(models_dir: Path) -> dict[str, list[int]]:
    """Model name -> version numbers, newest first.

    A version is a directory named by an integer without a leading zero that holds a manifest; anything
    else (a copy in progress, a publisher's temporary directory) does not exist. A model without a
    version is left out; one that cannot be read too, and the log says why.
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


def snapshot(models_dir: Path) -> dict[str, Hashable]:
    """Model name -> something other than before if its serving.json or a file of its versions has changed."""
    return {directory.name: fingerprint(directory) for directory in _models(models_dir)}


def _models(models_dir: Path) -> list[Path]:
    if not models_dir.is_dir():
        return []
    return sorted(each for each in models_dir.iterdir() if each.is_dir() and not each.name.startswith("."))


def fingerprint(directory: Path) -> Hashable:
    """Other than before if a file below the directory has come, gone or changed, judged by size and time.

    Names that begin with a dot do not count: they are of publications in progress.
    """
    found = []
    for folder, folders, files in os.walk(directory, followlinks=True):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in files:
            if name.startswith("."):
                continue
            with suppress(OSError):  # gone meanwhile
                status = os.stat(os.path.join(folder, name))
                found.append((folder, name, status.st_size, status.st_mtime_ns, status.st_ino))
    return tuple(sorted(found))


def version_number(text: str) -> int:
    """The version that a client names, written as its directory is.

    Raises:
        InvalidInput: anything else, so that one version has one name.
    """
    if not _VERSION.fullmatch(text):
        raise InvalidInput(
            f"{text!r} is no version; write a whole number from 1, in 1 to 18 digits, without leading zeros"
        )
    return int(text)


def _versions(model_directory: Path) -> list[int]:
    numbers = [
        int(entry.name)
        for entry in model_directory.iterdir()
        if _VERSION.fullmatch(entry.name) and (entry / MANIFEST_FILE).is_file()
    ]
    return sorted(numbers, reverse=True)
