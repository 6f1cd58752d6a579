"""Rows of CSV and Parquet files, and which columns make an instance."""

import csv
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

from app.contract.files.regular import shown
from app.errors import InvalidInput
from app.scoring.rows import LINE_LIMIT_BYTES, CannotScore, Row, Takes, Value, json_value, nested, text_value

PARQUET_ROWS = 1024  # read at a time
NO_PYARROW = (
    "Parquet requires pyarrow; install it with `pip install -r requirements/parquet.txt`, or write csv or jsonl"
)

# Columns that pandas adds for an index without a name.
_INDEX = re.compile(r"__index_level_[0-9]+__")

# A field of CSV without a number, in lower case.
_MISSING = frozenset({"", "nan"})

Make = Callable[[Mapping[str, Any]], Value]


def csv_rows(path: Path, takes: Takes, columns: Sequence[str]) -> Iterator[Row]:
    """Rows of a CSV file with a header, UTF-8.

    Raises:
        CannotScore: no header, other columns, or a field that is too long.
    """
    csv.field_size_limit(LINE_LIMIT_BYTES)
    with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        reader = csv.DictReader(file, strict=False)
        try:
            make = _maker(path, list(reader.fieldnames or ()), takes, columns)
            for number, record in enumerate(reader, start=1):
                yield Row(f"{path}:{number}", partial(_complete, make, record, reader.fieldnames or ()))
        except csv.Error as error:
            raise CannotScore(f"{shown(path)}: line {reader.line_num}: {error}") from error


def _complete(make: Make, record: Mapping[str | None, Any], names: Sequence[str]) -> Value:
    """Fields beyond the header are under None: one of the others was probably cut at a comma."""
    if None in record:
        raise InvalidInput(
            f"the row has {len(names) + len(record[None])} fields, and the header {len(names)}; a field with a comma "
            "is written in quotes"
        )
    return make({name: value for name, value in record.items() if name is not None})


def parquet_rows(path: Path, takes: Takes, columns: Sequence[str]) -> Iterator[Row]:
    """Rows of a Parquet file; only the columns that are used are read.

    Raises:
        CannotScore: pyarrow is not installed, or the file is damaged or has other columns.
    """
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise CannotScore(NO_PYARROW) from error
    number = 0
    try:
        with parquet.ParquetFile(path) as file:
            names = [name for name in file.schema_arrow.names if name in columns or not _INDEX.fullmatch(name)]
            make = _maker(path, names, takes, columns)
            used = [name for name in names if name in _used(names, takes, columns)]
            for batch in file.iter_batches(batch_size=PARQUET_ROWS, columns=used):
                for record in batch.to_pylist():
                    number += 1
                    yield Row(f"{path}:{number}", partial(make, record))
    except pyarrow.ArrowException as error:
        raise CannotScore(f"{shown(path)} is not a readable Parquet file: {error}") from error


def _used(names: Sequence[str], takes: Takes, columns: Sequence[str]) -> list[str]:
    """The columns that make an instance."""
    if columns:
        return list(columns)
    return list(takes.shapes) if set(takes.shapes) <= set(names) else list(names)


def _maker(path: Path, names: Sequence[str], takes: Takes, columns: Sequence[str]) -> Make:
    """The function that makes an instance of a record."""
    if not names:
        raise CannotScore(f"{shown(path)} has no header with the names of its columns")
    if missing := set(columns) - set(names):
        raise CannotScore(f"{shown(path)} has no column {min(missing)!r}; it has {list(names)}")
    used = _used(names, takes, columns)
    if twice := [name for name in used if names.count(name) > 1]:
        raise CannotScore(f"{shown(path)} has the column {twice[0]!r} twice")
    if set(used) == set(takes.shapes):
        return partial(_by_name, names=used, takes=takes)
    only = next(iter(takes.shapes.values())) if len(takes.shapes) == 1 else None
    if len(used) == 1:
        return partial(_single, name=used[0], takes=takes)
    if only == (len(used),) and takes.media is None:
        return partial(_vector, names=used, takes=takes)
    wanted = f"one for each input, {sorted(takes.shapes)}" + (", or one with --column" if takes.media or only else "")
    if only and takes.media is None and len(only) == 1 and only[0] > 1:
        wanted += f", or {only[0]}, each with --column, for the elements of it"
    raise CannotScore(f"{shown(path)} has the columns {list(names)}; the model requires {wanted}")


def _by_name(record: Mapping[str, Any], *, names: Sequence[str], takes: Takes) -> Value:
    if takes.media == "string":
        return _single(record, name=names[0], takes=takes)
    return {name: _cell(record[name], name, takes, takes.shapes[name], of=name) for name in names}


def _single(record: Mapping[str, Any], *, name: str, takes: Takes) -> Value:
    value = record[name]
    if value is None:
        raise InvalidInput(f"column {name!r} is empty")
    if isinstance(value, bytes):
        return value
    if isinstance(value, str):
        return text_value(_utf8(value), takes)
    [(only, shape)] = takes.shapes.items()
    return {only: nested(_number(value), shape)}


def _vector(record: Mapping[str, Any], *, names: Sequence[str], takes: Takes) -> Value:
    only = next(iter(takes.shapes))
    return {only: [_cell(record[name], name, takes, (), of=only) for name in names]}


def _cell(value: Any, name: str, takes: Takes, shape: Sequence[int], *, of: str) -> Any:
    """The value of the input ``of``, or of one element of it, from a column.

    One that is missing (an empty field, a null) is the empty text for an input of strings, as an empty field always
    is, and NaN for an input that accepts it; a field may also say NaN there.
    """
    is_string = of in takes.strings
    if value is None and is_string:
        value = ""
    if of in takes.gaps and (value is None or (isinstance(value, str) and value.strip().lower() in _MISSING)):
        value = math.nan
    if value is None or (value == "" and not is_string):
        raise InvalidInput(f"column {name!r} is empty, and the model accepts no missing number there")
    if isinstance(value, str):
        value = _strings(_utf8(value), shape) if is_string else json_value(value)
    return nested(_number(value), shape)


def _strings(text: str, shape: Sequence[int]) -> Any:
    """The text itself for an input of one string; a JSON list of strings for others, and also for one in lists."""
    if not shape or ({*shape} <= {1, -1} and not text.startswith("[")):
        return text
    try:
        return json_value(text)
    except InvalidInput:
        if {*shape} <= {1, -1}:
            return text
        raise


def _number(value: Any) -> Any:
    """A decimal number of Parquet as a number; anything else as it is."""
    return float(value) if isinstance(value, Decimal) else value


def _utf8(text: str) -> str:
    """The text, if the bytes that it was read from are UTF-8."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise InvalidInput("the field is not UTF-8") from error
    return text
