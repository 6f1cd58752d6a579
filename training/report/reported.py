"""What is known of one run or published version: the content of its report."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from training.measure.predictions import Predictions

Document = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Reported:
    """One run, or one version whose run may be gone.

    Attributes:
        name: of the model.
        title: how this run is called next to others, for example ``20261128-154924`` or ``version 2``.
        metrics: metrics.json.
        history: one row per epoch; empty if the run is gone.
        predictions: part, ``validation`` or ``test`` -> answers and truth; without the parts that were not kept.
        mistakes: see ``training.report.mistakes``; empty if the run is gone.
        pictures: title -> PNG file of the recipe's study.
        version: directory of the published version; None without one.
    """

    name: str
    title: str
    metrics: Document
    history: Sequence[Mapping[str, float]] = ()
    predictions: Mapping[str, Predictions] = field(default_factory=dict)
    mistakes: Sequence[Document] = ()
    pictures: Mapping[str, Path] = field(default_factory=dict)
    version: Path | None = None

    def called(self, title: str) -> "Reported":
        """The same with another title."""
        return replace(self, title=title)

    @property
    def part(self) -> str:
        """The part that the figures are of: the test part if it was used."""
        return "test" if self.metrics["test"] else "validation"

    @property
    def figures(self) -> Document:
        """Figures of that part; empty without a held-out part."""
        return self.metrics[self.part] or {}
