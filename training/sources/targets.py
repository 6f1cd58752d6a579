"""What a table is to predict: one target or several, each a class, a set of labels, or a number."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from training.errors import DataUnusable
from training.overrides import FIXED
from training.sources.labels import classes, label_sets, numbers
from training.sources.table_file import TableFile

Predicts = Literal["classes", "labels", "number"]
"""One of several classes; any of several labels; a number."""


@dataclass(frozen=True, kw_only=True)
class Target:
    """One target.

    Attributes:
        name: of the head that predicts it.
        predicts: what it is.
        column: of the table; empty if it is called as the head.
        separator: between the labels of one cell.
    """

    name: str = field(metadata=FIXED)
    predicts: Predicts = field(metadata=FIXED)
    column: str = field(default="", metadata=FIXED)
    separator: str = field(default="|", metadata=FIXED)

    @property
    def source(self) -> str:
        """The column."""
        return self.column or self.name


Values = tuple[tuple[str, ...], npt.NDArray[Any]]
"""Names of the classes or labels, empty for numbers; and the values, see ``Examples.labels``."""


def read_target(table: TableFile, target: Target, rows: Sequence[int]) -> Values:
    """One target of some rows.

    Raises:
        DataUnusable: see ``classes``, ``label_sets`` and ``numbers``.
    """
    if target.predicts == "classes":
        return classes(table, target.source, rows)
    if target.predicts == "labels":
        return label_sets(table, target.source, rows, separator=target.separator)
    return (), numbers(table, target.source, rows, cure="correct it, or predict classes")[:, None]


def check_names(file: str, names: Sequence[str]) -> None:
    """Refuse two targets with one name, and one without."""
    for name in names:
        if not name:
            raise DataUnusable(f"{file}: a target has no name; it is that of its head")
        if names.count(name) > 1:
            raise DataUnusable(f"{file}: two targets are called {name!r}; give each its own name")


def side_by_side(found: dict[str, npt.NDArray[Any]]) -> npt.NDArray[Any]:
    """A structured array (rows,) with a field for each array (rows, *shape); for one target that array itself."""
    if len(found) == 1:
        return next(iter(found.values()))
    return fields_of(found)


def fields_of(found: dict[str, npt.NDArray[Any]]) -> npt.NDArray[Any]:
    """A structured array (rows,) with a field for each array (rows, *shape)."""
    rows = len(next(iter(found.values())))
    together = np.empty(rows, [(name, values.dtype, values.shape[1:]) for name, values in found.items()])
    for name, values in found.items():
        together[name] = values
    return together
