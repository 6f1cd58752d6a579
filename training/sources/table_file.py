"""Rows of a CSV or Parquet file as columns of values, with the row of every mistake.

CSV is read by the standard library: its rows can be counted, and every value is the text that is in the file. Rows are
counted from 1, without the header.
"""

import csv
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path
from typing import Any

from training.errors import DataDamaged, DataMissing, DataUnusable
from training.sources.duplicates import file_hash
from training.sources.paths import is_file

FIELD_LIMIT_BYTES = 16 * 2**20
DELIMITERS = ",;\t|"
MISSING = frozenset({"", "na", "n/a", "nan", "null", "none", "?"})
"""Spellings of a value that is not there, in lower case."""

Cell = Any
"""A text of a CSV file; a value of a Parquet file; None if it is missing."""


@dataclass(frozen=True, kw_only=True)
class TableFile:
    """The columns of a file.

    Attributes:
        columns: name -> value of each row.
    """

    path: Path
    columns: dict[str, list[Cell]]

    @property
    def rows(self) -> int:
        """Number of rows."""
        return len(next(iter(self.columns.values())))

    @cached_property
    def sha256(self) -> str:
        """Of the file."""
        return file_hash(self.path)

    def column(self, name: str) -> list[Cell]:
        """The values of a column.

        Raises:
            DataUnusable: there is none of this name; has the nearest and all names.
        """
        if name not in self.columns:
            near = get_close_matches(name, self.columns, n=1)
            hint = f"did you mean {near[0]!r}? " if near else ""
            raise DataUnusable(f"{self.path} has no column {name!r}; {hint}there are: {', '.join(self.columns)}")
        return self.columns[name]


def read_table(path: Path) -> TableFile:
    """Read a file whole.

    Args:
        path: of a .parquet file; any other file is CSV with a header, UTF-8, with , ; | or tabs between fields.

    Raises:
        DataMissing: the file does not exist or may not be read, or Parquet cannot be read without pyarrow.
        DataDamaged: not CSV or Parquet; names the row.
        DataUnusable: no rows, or two columns with the same name.
    """
    if not is_file(path):
        raise DataMissing(f"{path} is not a file; give a CSV or Parquet file with a header")
    try:
        names, columns = _parquet(path) if path.suffix.lower() in {".parquet", ".pq"} else _csv(path)
    except OSError as error:
        raise DataMissing(f"{path} cannot be read: {error.strerror or error}") from error
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise DataUnusable(f"{path} has two columns {twice[0]!r}; rename one")
    if not columns or not columns[0]:
        raise DataUnusable(f"{path} has no rows below its header {', '.join(names) or '(none)'}")
    return TableFile(path=path, columns=dict(zip(names, columns, strict=True)))


def is_missing(cell: Cell) -> bool:
    """Whether a cell has no value."""
    if isinstance(cell, str):
        return cell.strip().lower() in MISSING
    return cell is None or (isinstance(cell, float) and math.isnan(cell))


def first_wrong(cells: Iterable[Cell], convert: Any) -> tuple[int, Cell] | None:
    """Row, from 1, and value of the first cell that ``convert`` refuses with a ValueError or TypeError."""
    for row, cell in enumerate(cells, start=1):
        try:
            convert(cell)
        except (TypeError, ValueError):
            return row, cell
    return None


def _csv(path: Path) -> tuple[list[str], list[list[Cell]]]:
    csv.field_size_limit(FIELD_LIMIT_BYTES)
    row = 0
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            first = file.readline()
            delimiter = max(DELIMITERS, key=first.count)
            file.seek(0)
            reader = csv.reader(file, delimiter=delimiter, strict=True)
            names = [name.strip() for name in next(reader, [])]
            columns: list[list[Cell]] = [[] for _ in names]
            for fields in reader:
                if not fields:  # an empty line
                    continue
                row += 1
                if len(fields) != len(names):
                    raise DataDamaged(
                        f"{path}: row {row} has {len(fields)} fields, but the header has {len(names)}; a field with "
                        f"{delimiter!r} is written in quotes"
                    )
                for column, field in zip(columns, fields, strict=True):
                    column.append(field)
    except UnicodeDecodeError as error:
        raise DataDamaged(f"{path} is not UTF-8 text: {error.reason} after row {row}; save it as CSV UTF-8") from error
    except csv.Error as error:
        raise DataDamaged(f"{path}: row {row + 1}: {error}") from error
    return names, columns


def _parquet(path: Path) -> tuple[Sequence[str], list[list[Cell]]]:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise DataMissing("Parquet requires pyarrow; run: make train-install, or save the table as CSV") from error
    try:
        table = parquet.read_table(path)
    except (pyarrow.ArrowException, OSError) as error:
        raise DataDamaged(f"{path} is not a readable Parquet file: {error}") from error
    return table.column_names, [column.to_pylist() for column in table.columns]
