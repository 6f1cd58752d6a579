"""A table of your own: one column is predicted from columns of numbers and of categories, each with missing values."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from training.bounds import Bounded, Seed, ShareBelowOne
from training.datasets.splits import Examples, Names, Splits
from training.errors import DataUnusable
from training.overrides import FIXED
from training.sources.labels import label_of, numbers, rows_with_target
from training.sources.row_weights import weights_of
from training.sources.splitting import split_file
from training.sources.table_file import TableFile, is_missing, read_table
from training.sources.targets import Predicts, Target, read_target, side_by_side
from training.sources.targets import check_names as check_target_names

FORM = "table"
MOST_COPIES = 0.1
MOST_INPUTS = 64
"""Columns, each an input of the model: as many as model.json accepts."""


@dataclass(frozen=True, kw_only=True)
class Table(Bounded):
    """Settings of a table.

    Attributes:
        file: CSV with a header, or Parquet.
        target: column to predict; empty if there are several.
        predicts: whether the target is one of several classes, any of several labels, or a number.
        separator: between the labels of one cell.
        targets: several columns to predict, each by a head of the recipe, in place of ``target``.
        weight: column that says how much each row counts in training; empty for none.
        numbers, categories: columns to predict from; each becomes an input, named by ``input_name``.
        validation_share, test_share: of the rows, or of the rows of each class.
        split_seed: of the random choice.
        skip_without_target: whether rows without a target are left out.
    """

    file: str = field(metadata=FIXED)
    target: str = field(default="", metadata=FIXED)
    predicts: Predicts = field(default="classes", metadata=FIXED)
    separator: str = field(default="|", metadata=FIXED)
    targets: tuple[Target, ...] = field(default=(), metadata=FIXED)
    weight: str = field(default="", metadata=FIXED)
    numbers: tuple[str, ...] = field(default=(), metadata=FIXED)
    categories: tuple[str, ...] = field(default=(), metadata=FIXED)
    validation_share: ShareBelowOne = 0.15
    test_share: ShareBelowOne = 0.15
    split_seed: Seed = 0
    skip_without_target: bool = field(default=False, metadata=FIXED)

    def load(self) -> Splits:
        """Read, check and split the file.

        Instances are a structured array (rows,): a float32 field for each number, NaN if missing; an object field of
        ``bytes`` (UTF-8) for each category, empty if missing.

        Raises:
            DataMissing, DataDamaged, DataUnusable: see ``read_table``, ``classes``, ``numbers`` and ``split_rows``; a
                column is used twice, or there are none or too many.
        """
        table = read_table(Path(self.file))
        self._check()
        targets = self.all_targets
        with_all = [set(rows_with_target(table, each.source, skip=self.skip_without_target)) for each in targets]
        rows = sorted(set.intersection(*with_all))
        if not rows:
            raise DataUnusable(f"{table.path}: no row has a value in each of the target columns")
        instances = self.instances(table, rows)
        found = {each.name: read_target(table, each, rows) for each in targets}
        labels = side_by_side({name: values for name, (_, values) in found.items()})
        examples = Examples(instances=instances, labels=labels, weights=weights_of(table, self.weight, rows))
        heads = {name: names for name, (names, _) in found.items()}
        names: Names = heads if len(heads) > 1 else next(iter(heads.values()))
        return split_file(self, table, examples, contents=contents_of(instances), names=names, form=FORM)

    @property
    def all_targets(self) -> tuple[Target, ...]:
        """What is predicted, one or several."""
        one = Target(name=self.target, predicts=self.predicts, separator=self.separator)
        return self.targets or (one,)

    def _check(self) -> None:
        columns = (*self.numbers, *self.categories)
        if not 0 < len(columns) <= MOST_INPUTS:
            raise DataUnusable(
                f"{self.file}: numbers and categories name {len(columns)} columns; 1 to {MOST_INPUTS} are accepted"
            )
        names = [input_name(column) for column in columns]
        for name in names:
            if names.count(name) > 1:
                same = [column for column in columns if input_name(column) == name]
                raise DataUnusable(f"{self.file}: the columns {' and '.join(same)} would both be the input {name!r}")
        if bool(self.target) == bool(self.targets):
            raise DataUnusable(f"{self.file}: name what is to be predicted, either as target or as targets")
        check_target_names(self.file, [each.name for each in self.all_targets])
        used = [("target", each.source) for each in self.all_targets]
        for what, column in (*used, *([("weight", self.weight)] if self.weight else [])):
            if column in columns:
                raise DataUnusable(f"{self.file}: the {what} {column!r} is also a column to predict from; remove it")

    def instances(self, table: TableFile, rows: Sequence[int]) -> npt.NDArray[Any]:
        """The chosen rows of a file with these columns, in the form that ``load`` describes.

        Raises:
            DataUnusable: a column is missing, or a value is not a number; see ``numbers``.
        """
        kinds: list[tuple[str, type]] = [(input_name(name), np.float32) for name in self.numbers]
        kinds += [(input_name(name), object) for name in self.categories]
        instances = np.empty(len(rows), kinds)
        for name in self.numbers:
            cure = "correct it, or move the column to categories"
            instances[input_name(name)] = numbers(table, name, rows, cure=cure)
        for name in self.categories:
            cells = table.column(name)
            instances[input_name(name)] = [category_of(cells[row]) for row in rows]
        return instances


def contents_of(instances: npt.NDArray[Any]) -> list[str]:
    """The content of each row, by which equal rows are kept in one part.

    If more than a tenth of the rows are copies, the columns have few values and equal rows are different cases: then
    each row counts by itself.
    """
    contents = [str(row) for row in instances]
    return [str(row) for row in range(len(contents))] if are_cases(contents) else contents


def are_cases(contents: Sequence[str]) -> bool:
    """Whether so many rows are equal that equal ones are different cases, not copies of one."""
    return len(contents) - len(set(contents)) > MOST_COPIES * len(contents)


def category_of(cell: Any) -> bytes:
    """A category as clients send it: its text in UTF-8, empty if it is missing."""
    return b"" if is_missing(cell) else label_of(cell).encode()


def input_name(column: str) -> str:
    """The input for a column: its name with _ for other characters than ASCII letters, digits and _."""
    name = re.sub(r"[^A-Za-z0-9_]+", "_", column).strip("_")
    return name if re.match("[A-Za-z]", name) else f"column_{name}".rstrip("_")
