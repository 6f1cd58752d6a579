"""Texts of your own: a CSV or Parquet file with a column of texts and a column of labels."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from training.bounds import Bounded, Seed, ShareBelowOne
from training.datasets.splits import Examples, Splits
from training.errors import DataUnusable
from training.overrides import FIXED
from training.sources.labels import rows_with_target
from training.sources.row_weights import weights_of
from training.sources.splitting import split_file
from training.sources.table_file import TableFile, read_table
from training.sources.targets import Target, read_target

FORM = "texts with labels"


@dataclass(frozen=True, kw_only=True)
class TextTable(Bounded):
    """Settings of a file of texts.

    Attributes:
        file: CSV with a header, or Parquet.
        text: column of the texts.
        target: column of the labels, of any names.
        predicts: whether a text has one of several classes, or any of several labels.
        separator: between the labels of one cell.
        weight: column that says how much each text counts in training; empty for none.
        validation_share, test_share: of each class.
        split_seed: of the random choice.
        skip_without_target: whether rows without a text or a label are left out.
    """

    file: str = field(metadata=FIXED)
    text: str = field(metadata=FIXED)
    target: str = field(metadata=FIXED)
    predicts: Literal["classes", "labels"] = field(default="classes", metadata=FIXED)
    separator: str = field(default="|", metadata=FIXED)
    weight: str = field(default="", metadata=FIXED)
    validation_share: ShareBelowOne = 0.15
    test_share: ShareBelowOne = 0.15
    split_seed: Seed = 0
    skip_without_target: bool = field(default=False, metadata=FIXED)

    def load(self) -> Splits:
        """Read, check and split the file; rows with the same text are in one part.

        Raises:
            DataMissing, DataDamaged, DataUnusable: see ``read_table``, ``rows_with_target``, ``classes`` and
                ``split_rows``; a text is missing, or no text at all.
        """
        table = read_table(Path(self.file))
        if self.text == self.target:
            raise DataUnusable(f"{table.path}: {self.text!r} is both the text and the target; name two columns")
        texts = texts_of(table, self.text, skip=self.skip_without_target)
        rows = [row for row in rows_with_target(table, self.target, skip=self.skip_without_target) if texts[row]]
        target = Target(name=self.target, predicts=self.predicts, separator=self.separator)
        labels, numbers = read_target(table, target, rows)
        kept = tuple(texts[row] for row in rows)
        examples = Examples(instances=kept, labels=numbers, weights=weights_of(table, self.weight, rows))
        return split_file(self, table, examples, contents=kept, names=labels, form=FORM)


def texts_of(table: TableFile, column: str, *, skip: bool) -> list[str]:
    """The text of each row, without spaces around it; empty for a row without one.

    Args:
        table: the file.
        column: of the texts.
        skip: whether rows without a text are left out; they are empty then.

    Raises:
        DataUnusable: a row has no text, and such rows are not left out; or a value is not a text. Names the row.
    """
    texts = []
    for row, cell in enumerate(table.column(column), start=1):
        if cell is not None and not isinstance(cell, str):
            raise DataUnusable(
                f"{table.path}: row {row}: column {column!r} has {str(cell)[:60]!r}, which is not a text"
            )
        text = (cell or "").strip()
        if not text and not skip:
            raise DataUnusable(
                f"{table.path}: row {row} has no text in column {column!r}; fill it in, or set skip_without_target=True"
            )
        texts.append(text)
    return texts
