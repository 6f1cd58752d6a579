"""From paths and patterns to instances: image files, lines of texts, rows of tables and arrays."""

import glob
import os
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from app.contract.files.regular import read_file, shown
from app.scoring.rows import IMAGE_LIMIT_BYTES, CannotScore, Row, Takes, arrays, lines
from app.scoring.tables import csv_rows, parquet_rows

IMAGES = frozenset({".png", ".jpg", ".jpeg", ".gif", ".bmp", ".webp", ".tif", ".tiff"})
LINES, ARRAYS, CSV, PARQUET = ".txt", ".npz", ".csv", ".parquet"
_WILD = frozenset("*?[")


def rows_of(inputs: Sequence[str], takes: Takes, columns: Sequence[str]) -> Iterator[Row]:
    """Every instance, in the order of the inputs; directories and patterns in the order of their names.

    Args:
        inputs: files, directories or patterns.
        takes: what the model takes.
        columns: of tables; empty takes those named like the inputs, or the only one.

    Raises:
        CannotScore: an input does not exist, cannot be read, or has other columns.
    """
    for each in inputs:
        for path in _files(each):
            yield from _rows_of_file(path, takes, columns)


def check_inputs(inputs: Sequence[str]) -> None:
    """Refuse an input that matches no file, before a model is loaded."""
    for each in inputs:
        if next(_files(each), None) is None:
            raise CannotScore(f"{shown(each)} contains no file that can be scored")


def _files(path: str) -> Iterator[Path]:
    if os.path.isdir(path):
        for root, folders, names in os.walk(path):
            folders.sort()
            yield from (Path(root, name) for name in sorted(names) if Path(name).suffix.lower() in IMAGES)
    elif os.path.exists(path):
        yield Path(path)
    elif _WILD & set(path):
        yield from (Path(found) for found in sorted(glob.glob(path, recursive=True)) if os.path.isfile(found))
    else:
        raise CannotScore(f"{shown(path)} does not exist")


def _rows_of_file(path: Path, takes: Takes, columns: Sequence[str]) -> Iterator[Row]:
    suffix = path.suffix.lower()
    try:
        if suffix in IMAGES:
            yield Row(str(path), partial(read_file, path, IMAGE_LIMIT_BYTES))
        elif suffix == LINES:
            yield from lines(path, takes)
        elif suffix == ARRAYS:
            yield from arrays(path, takes)
        elif suffix == CSV:
            yield from csv_rows(path, takes, columns)
        elif suffix == PARQUET:
            yield from parquet_rows(path, takes, columns)
        else:
            known = ", ".join([*sorted(IMAGES), LINES, CSV, PARQUET, ARRAYS])
            raise CannotScore(f"{shown(path)} has an unknown suffix; known are {known}")
    except OSError as error:
        raise CannotScore(f"{shown(path)}: {error.strerror or error}") from error
