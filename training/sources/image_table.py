"""Pictures of your own with a table: a CSV or Parquet file with the path of each picture and its class or labels."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from training.bounds import Bounded, Seed, ShareBelowOne
from training.datasets.splits import Examples, Splits
from training.errors import DataMissing, DataUnusable
from training.overrides import FIXED
from training.sources.duplicates import digest, equal_rows, file_hash
from training.sources.labels import rows_with_target
from training.sources.paths import is_file
from training.sources.row_weights import weights_of
from training.sources.splitting import split_examples
from training.sources.table_file import TableFile, is_missing, read_table
from training.sources.targets import Target, read_target

FORM = "pictures with labels"


@dataclass(frozen=True, kw_only=True)
class ImageTable(Bounded):
    """Settings of a table of pictures.

    Attributes:
        file: CSV with a header, or Parquet.
        picture: column of the paths, relative to the folder of the file.
        target: column of the labels.
        predicts: whether a picture has one of several classes, or any of several labels.
        separator: between the labels of one cell.
        weight: column that says how much each picture counts in training; empty for none.
        validation_share, test_share: of the rows, or of the rows of each class.
        split_seed: of the random choice.
        skip_without_target: whether rows without a label are left out.
    """

    file: str = field(metadata=FIXED)
    picture: str = field(metadata=FIXED)
    target: str = field(metadata=FIXED)
    predicts: Literal["classes", "labels"] = field(default="classes", metadata=FIXED)
    separator: str = field(default="|", metadata=FIXED)
    weight: str = field(default="", metadata=FIXED)
    validation_share: ShareBelowOne = 0.15
    test_share: ShareBelowOne = 0.15
    split_seed: Seed = 0
    skip_without_target: bool = field(default=False, metadata=FIXED)

    def load(self) -> Splits:
        """Find, check and split the pictures; instances are their paths. Equal pictures are in one part.

        Raises:
            DataMissing, DataDamaged, DataUnusable: see ``read_table``, ``rows_with_target`` and ``read_target``; or a
                row has no picture, or two equal pictures have different labels. Names the row.
        """
        table = read_table(Path(self.file))
        if self.picture == self.target:
            raise DataUnusable(f"{table.path}: {self.picture!r} is both the picture and the target; name two columns")
        rows = rows_with_target(table, self.target, skip=self.skip_without_target)
        paths = paths_of(table, self.picture, rows)
        target = Target(name=self.target, predicts=self.predicts, separator=self.separator)
        names, labels = read_target(table, target, rows)
        hashes = [file_hash(path) for path in paths]
        for places in equal_rows({"": hashes}):
            one, *others = (row for _, row in places)
            for other in others:
                if (labels[one] != labels[other]).any():
                    raise DataUnusable(
                        f"{table.path}: rows {rows[one] + 1} and {rows[other] + 1} have the same picture, "
                        f"{paths[one].name} and {paths[other].name}, with different labels; remove one"
                    )
        examples = Examples(
            instances=tuple(map(str, paths)), labels=labels, weights=weights_of(table, self.weight, rows)
        )
        return split_examples(
            self,
            examples,
            name=table.path.name,
            sha256=digest([table.sha256, *hashes]),
            contents=hashes,
            names=names,
            form=FORM,
        )


def paths_of(table: TableFile, column: str, rows: list[int]) -> list[Path]:
    """The files that the rows name.

    Raises:
        DataUnusable: a row names none; names the row.
        DataMissing: there is no such file; names the row and the path.
    """
    cells, folder = table.column(column), table.path.parent
    for row in rows:
        if is_missing(cells[row]):
            raise DataUnusable(f"{table.path}: row {row + 1} names no picture in column {column!r}")
        if not is_file(folder / str(cells[row]).strip()):
            raise DataMissing(
                f"{table.path}: row {row + 1}: there is no file {folder / str(cells[row]).strip()}; paths are relative "
                "to the folder of the table"
            )
    return [folder / str(cells[row]).strip() for row in rows]
