"""The directories of versions: which names are version numbers, and which directory has a number.

Source: TensorFlow Serving, ``file_system_storage_path_source.cc``: a directory is a version if its name is an int64
that is not negative, with leading zeros or without. Triton ignores names with leading zeros.
"""

import errno
import os
import re
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

from app.contract.files.tree import MODEL_ENTRIES

# int64, as the protocols have it.
LARGEST_VERSION = 2**63 - 1

_DIGITS = re.compile(r"[0-9]{1,255}")


def version_of(name: str) -> int | None:
    """The version that a directory of this name is; None if the name is not a version number."""
    if not _DIGITS.fullmatch(name):
        return None
    number = int(name)
    return number if number <= LARGEST_VERSION else None


def numbered_directories(model_directory: Path) -> Mapping[int, list[str]]:
    """Version -> names of the directories that have its number; the first one is the version. Reads the disk.

    The first one is the shortest name. The next version that is published has no leading zeros, so it counts.

    Raises:
        OSError: the directory of the model cannot be read, or has too many files.
    """
    numbered: defaultdict[int, list[str]] = defaultdict(list)
    with os.scandir(model_directory) as found:
        for count, entry in enumerate(found):
            if count == MODEL_ENTRIES:
                raise OSError(errno.E2BIG, f"more than {MODEL_ENTRIES} files in it")
            if (number := version_of(entry.name)) is not None and os.path.isdir(entry.path):
                numbered[number].append(entry.name)
    for names in numbered.values():
        names.sort(key=len)
    return numbered


def version_directory(model_directory: Path, version: int) -> Path:
    """The directory of a version; if it does not exist, the one without leading zeros. Reads the disk.

    Raises:
        OSError: see ``numbered_directories``.
    """
    plain = model_directory / str(version)
    if plain.is_dir() or not model_directory.is_dir():
        return plain
    names = numbered_directories(model_directory).get(version)
    return model_directory / names[0] if names else plain
