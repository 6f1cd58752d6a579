"""Options of ``training new`` about the target: sets of labels, weights of rows; and what they add to a recipe."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from training.errors import DataUnusable
from training.new.draft import source
from training.sources.table_file import TableFile

TASK = """    task=MultiLabel(),  # a label is given from probability 0.5 up; MultiLabel(threshold=0.3) gives more
    loss=Loss(name="binary-crossentropy"),
    metrics=("binary-accuracy",),
"""


@dataclass(frozen=True, kw_only=True)
class TargetOptions:
    """Options of the target.

    Attributes:
        separator: between the labels of one cell; empty if a row has one class.
        weight: column of the weights of the rows; empty for none.
    """

    separator: str = ""
    weight: str = ""

    @property
    def kind(self) -> str:
        """What the target has."""
        return "labels" if self.separator else "classes"

    @property
    def which(self) -> str:
        """How many of them a row has."""
        return "Any" if self.separator else "One"

    @property
    def task(self) -> str:
        """Lines of the recipe about the task; empty for the default."""
        return TASK if self.separator else ""

    @property
    def task_import(self) -> str:
        """The import that these lines need."""
        return "from training.measure.label_sets import MultiLabel\n" if self.separator else ""

    @property
    def loss_import(self) -> str:
        """The name that they need from ``training.recipe.fitting``."""
        return "Loss, " if self.separator else ""

    @property
    def source(self) -> str:
        """Lines of the data source."""
        indent = "\n        "
        labels = f'{indent}predicts="labels",{indent}separator={source(self.separator)},' if self.separator else ""
        return labels + (f"{indent}weight={source(self.weight)}," if self.weight else "")

    def counts(self, cells: Sequence[str]) -> dict[str, int]:
        """Class or label -> number of rows that have it."""
        found = Counter(label for cell in cells for label in self.labels(cell))
        return dict(sorted(found.items()))

    def labels(self, cell: str) -> set[str]:
        """The labels of one cell."""
        return {part.strip() for part in cell.split(self.separator)} if self.separator else {cell}

    def facts(self, cells: Sequence[str]) -> list[tuple[str, str]]:
        """(name, value) lines about the labels and the weights."""
        found: Mapping[str, str] = {}
        if self.separator:
            sizes = [len(self.labels(cell)) for cell in cells]
            found = {"labels of a row": f"{min(sizes)} to {max(sizes)}, on average {sum(sizes) / len(sizes):.2f}"}
        return [*found.items(), *([("weight of a row", f"column {self.weight!r}")] if self.weight else [])]

    def check(self, table: TableFile, *columns: str) -> None:
        """Refuse a weight that is no column, or another one that is used."""
        if self.weight:
            table.column(self.weight)
            if self.weight in columns:
                raise DataUnusable(f"{table.path}: column {self.weight!r} cannot be the weight and something else")


NO_OPTIONS = TargetOptions()
