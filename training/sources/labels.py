"""The target column as classes, as sets of labels, or as numbers."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from training.errors import DataUnusable
from training.sources.table_file import Cell, TableFile, first_wrong, is_missing

MOST_CLASSES = 100


def label_of(cell: Cell) -> str:
    """The name of a class: its text, without spaces around it."""
    return str(cell).strip()


def rows_with_target(table: TableFile, target: str, *, skip: bool) -> list[int]:
    """Numbers, from 0, of the rows with a target.

    Args:
        table: the file.
        target: column.
        skip: whether rows without a target are left out.

    Raises:
        DataUnusable: a row has none, and rows are not left out; names the first.
    """
    cells = table.column(target)
    present = [row for row, cell in enumerate(cells) if not is_missing(cell)]
    if len(present) < len(cells) and not skip:
        first = next(row for row, cell in enumerate(cells, start=1) if is_missing(cell))
        raise DataUnusable(
            f"{table.path}: {len(cells) - len(present)} of {len(cells)} rows have no value in the target column "
            f"{target!r}; the first is row {first}; fill them in, or set skip_without_target=True"
        )
    if not present:
        raise DataUnusable(f"{table.path}: no row has a value in the target column {target!r}")
    return present


def classes(table: TableFile, target: str, rows: Sequence[int]) -> tuple[tuple[str, ...], npt.NDArray[np.int32]]:
    """The labels in alphabetical order, and int32 (rows,) of their numbers.

    Raises:
        DataUnusable: only one class, or more than 100; names the column.
    """
    cells = table.column(target)
    names = [_name_of(table, target, row, cells[row]) for row in rows]
    labels = tuple(sorted(set(names)))
    if len(labels) == 1:
        raise DataUnusable(
            f"{table.path}: all {len(rows)} rows have {labels[0]!r} in the target column {target!r}; there is nothing "
            "to distinguish"
        )
    if len(labels) > MOST_CLASSES:
        rare, count = min(Counter(names).items(), key=lambda item: (item[1], item[0]))
        raise DataUnusable(
            f"{table.path}: the target column {target!r} has {len(labels)} different values, such as {rare!r} in "
            f"{count} rows; at most {MOST_CLASSES} classes are accepted. Choose another target, or join rare values"
        )
    numbers = {label: number for number, label in enumerate(labels)}
    return labels, np.array([numbers[name] for name in names], np.int32)


def label_sets(
    table: TableFile, target: str, rows: Sequence[int], *, separator: str
) -> tuple[tuple[str, ...], npt.NDArray[np.bool_]]:
    """The labels in alphabetical order, and bool (rows, labels): which of them each row has.

    Args:
        table: the file.
        target: column; a cell has one label or several, in Parquet also as a list.
        rows: from 0.
        separator: between the labels of a cell.

    Raises:
        DataUnusable: a cell has an empty label, all rows have the same labels, or there are fewer than 2 or more than
            100 labels; names the row or the label.
    """
    if not separator:
        raise DataUnusable(f"{table.path}: the separator of the labels in {target!r} is empty; give a character")
    cells = table.column(target)
    sets = []
    for row in rows:
        cell = cells[row]
        if isinstance(cell, list):
            parts = [_name_of(table, target, row, part) for part in cell]
        else:
            parts = [part.strip() for part in _name_of(table, target, row, cell).split(separator)]
        if not parts or not all(parts):
            raise DataUnusable(
                f"{table.path}: row {row + 1}: {label_of(cells[row])[:60]!r} in column {target!r} has an empty label; "
                f"write labels with {separator!r} between them"
            )
        sets.append(frozenset(parts))
    labels = tuple(sorted(frozenset().union(*sets)))
    if len(set(sets)) == 1:
        raise DataUnusable(
            f"{table.path}: all {len(rows)} rows have the labels {', '.join(labels)} in {target!r}; there is nothing "
            "to distinguish"
        )
    if not 2 <= len(labels) <= MOST_CLASSES:
        cure = f"is {separator!r} what separates them?" if len(labels) > MOST_CLASSES else "predict classes"
        raise DataUnusable(
            f"{table.path}: the target column {target!r} has {len(labels)} different labels, such as {labels[0]!r}; "
            f"2 to {MOST_CLASSES} are accepted; {cure}"
        )
    return labels, np.array([[label in each for label in labels] for each in sets], bool)


def _name_of(table: TableFile, target: str, row: int, cell: Cell) -> str:
    """See ``label_of``; refuses values of Parquet that are no names."""
    if isinstance(cell, bytes | list | dict):
        raise DataUnusable(
            f"{table.path}: row {row + 1}: column {target!r} has {str(cell)[:60]}, which is not a label; texts, whole "
            "numbers and booleans are"
        )
    return "" if cell is None else label_of(cell)


def known_classes(table: TableFile, target: str, rows: Sequence[int], labels: Sequence[str]) -> npt.NDArray[np.int32]:
    """int32 (rows,): the numbers of the classes of a model that exists.

    Args:
        table: the file.
        target: column of the labels.
        rows: from 0.
        labels: of the model, in the order of their numbers.

    Raises:
        DataUnusable: a row has another label; names the row and the label.
    """
    cells = table.column(target)
    return np.array(
        [known_class(f"{table.path}: row {row + 1}", label_of(cells[row]), labels) for row in rows], np.int32
    )


def known_class(place: str, label: str, labels: Sequence[str]) -> int:
    """The number of a class; ``place`` is the beginning of the message. Raises DataUnusable for another label."""
    if label not in labels:
        raise DataUnusable(
            f"{place} has the label {label[:60]!r}, but the model only knows {', '.join(labels)}; correct the "
            "label, or for a new class add its rows to the data of the recipe and train with `python -m training run`"
        )
    return labels.index(label)


def numbers(table: TableFile, column: str, rows: Sequence[int], *, cure: str) -> npt.NDArray[np.float32]:
    """float32 (rows,); NaN where there is no value.

    Args:
        table: the file.
        column: of numbers.
        rows: from 0.
        cure: end of the message.

    Raises:
        DataUnusable: a value is not a finite number; names the row and the value.
    """
    cells = table.column(column)

    def number(cell: Cell) -> float:
        if is_missing(cell):
            return float("nan")
        value = float(cell)
        with np.errstate(over="ignore"):
            if not np.isfinite(np.float32(value)):
                raise ValueError
        return value

    try:
        return np.array([number(cells[row]) for row in rows], np.float32)
    except (TypeError, ValueError) as error:
        wrong = first_wrong(cells, number)
        assert wrong is not None  # the same conversion has just failed
        raise DataUnusable(
            f"{table.path}: row {wrong[0]}: column {column!r} has {str(wrong[1])[:60]!r}, which is not a finite "
            f"number; {cure}"
        ) from error
