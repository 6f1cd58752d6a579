"""The final file: CSV, JSON lines or Parquet, written next to its place and renamed."""

import csv
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any

import orjson

from app.contract.bfloat16 import BFLOAT16
from app.contract.files.regular import shown
from app.scoring.answers import ERROR, ID, Columns
from app.scoring.checkpoint import Checkpoint, Record
from app.scoring.rows import CannotScore
from app.scoring.tables import NO_PYARROW

_GROUP = 10_000  # rows of a group of Parquet

Write = Callable[[Path, Checkpoint, Columns], None]


def writer_for(path: Path) -> Write:
    """The writer of the final file, chosen by its suffix.

    Raises:
        CannotScore: the suffix is unknown, the directory does not exist, or pyarrow is required and not installed.
    """
    writers: dict[str, Write] = {".csv": _write_csv, ".jsonl": _write_lines, ".parquet": _write_parquet}
    if path.suffix.lower() not in writers:
        raise CannotScore(f"--output is {shown(path)}; expected a file that ends in {', '.join(writers)}")
    if not path.parent.is_dir():
        raise CannotScore(f"--output: the directory {shown(path.parent)} does not exist")
    if path.suffix.lower() == ".parquet":
        try:
            import pyarrow.parquet  # noqa: F401
        except ImportError as error:
            raise CannotScore(NO_PYARROW) from error
    return writers[path.suffix.lower()]


def finish(path: Path, checkpoint: Checkpoint, columns: Columns, write: Write) -> None:
    """Turn the rows that are done into the final file, in one step, and delete the partial one.

    Args:
        path: of the final file, replaced if it exists.
        checkpoint: closed.
        columns: besides id and error, in order.
        write: from ``writer_for``.
    """
    temporary = path.with_name(f".{path.name}.writing")
    try:
        write(temporary, checkpoint, columns)
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    checkpoint.remove()


def _write_lines(path: Path, checkpoint: Checkpoint, columns: Columns) -> None:
    names = [ID, *columns, ERROR]
    with path.open("wb") as file:
        for record in checkpoint.records():
            file.write(orjson.dumps({name: record.get(name) for name in names}, option=orjson.OPT_APPEND_NEWLINE))


def _write_csv(path: Path, checkpoint: Checkpoint, columns: Columns) -> None:
    names = [ID, *columns, ERROR]
    file: IO[str]
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(names)
        writer.writerows([_cell(record.get(name)) for name in names] for record in checkpoint.records())


def _cell(value: Any) -> Any:
    """Lists as JSON; an empty text for missing values."""
    if isinstance(value, list | dict):
        return orjson.dumps(value).decode()
    return "" if value is None else value


def _write_parquet(path: Path, checkpoint: Checkpoint, columns: Columns) -> None:
    import pyarrow
    from pyarrow import parquet

    kinds: dict[str, Any] = {ID: pyarrow.string()}
    for name, (dtype, rank) in columns.items():
        kind = {
            "bool": pyarrow.bool_(),
            "float16": pyarrow.float32(),
            BFLOAT16: pyarrow.float32(),
            "float64": pyarrow.float64(),
        }.get(dtype)
        if kind is None:
            kind = pyarrow.type_for_alias(dtype)
        for _ in range(rank):
            kind = pyarrow.list_(kind)
        kinds[name] = kind
    schema = pyarrow.schema([*kinds.items(), (ERROR, pyarrow.string())])
    with parquet.ParquetWriter(path, schema) as writer:
        for group in _groups(checkpoint.records()):
            writer.write_table(pyarrow.Table.from_pylist(group, schema=schema))


def _groups(records: Iterator[Record]) -> Iterator[Sequence[Record]]:
    group: list[Record] = []
    for record in records:
        group.append(record)
        if len(group) == _GROUP:
            yield group
            group = []
    yield group
