"""Rows with the same content: within a part they count twice, in two parts the test knows what the training taught."""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from training.errors import DataMissing

Place = tuple[str, int]
"""Part and row number."""


def file_hash(path: Path) -> str:
    """Lower-case hexadecimal sha256 of a file.

    Raises:
        DataMissing: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise DataMissing(f"{path} cannot be read: {error.strerror}") from error


def equal_rows(contents: Mapping[str, Sequence[str]]) -> Iterator[list[Place]]:
    """The places of each content that occurs more than once, in order.

    Args:
        contents: part -> content of each of its rows.
    """
    places: dict[str, list[Place]] = defaultdict(list)
    for part, values in contents.items():
        for row, value in enumerate(values):
            places[value].append((part, row))
    yield from (found for found in places.values() if len(found) > 1)


def digest(lines: Iterable[str]) -> str:
    """One sha256 for many names with their hashes."""
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
