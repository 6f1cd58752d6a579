"""The task of giving a row every label that holds, several or none, and how its answers are measured.

Imports no TensorFlow.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from app.contract.steps import Classification
from training.measure.evaluate import SMALLEST_PROBABILITY
from training.measure.tasks import PROBABILITIES, Activation, Array, Names, Probabilities

THRESHOLD = 0.5
"""A label holds from this probability up, unless the task states another one."""


@dataclass(frozen=True, kw_only=True)
class LabelSetFigures:
    """How well sets of labels are found.

    Attributes:
        labels: their names.
        threshold: a label is given from this probability up.
        micro_f1: F1 over all labels of all rows, so that frequent labels count more.
        macro_f1: mean of the F1 of each label.
        exact_match: share of the rows whose set of labels is right as a whole.
        log_loss: mean of -ln(probability of the truth) over all labels of all rows.
        precision, recall, f1: of each label; 0 where nothing is divided by.
        support: rows that have each label.
    """

    rows: int
    labels: Names
    threshold: float
    micro_f1: float
    macro_f1: float
    exact_match: float
    log_loss: float
    precision: tuple[float, ...]
    recall: tuple[float, ...]
    f1: tuple[float, ...]
    support: tuple[int, ...]

    @property
    def headline(self) -> str:
        """The F1 over all labels."""
        return f"micro F1 {self.micro_f1:.4f}"

    def as_json(self) -> dict[str, Any]:
        """For metrics.json: figures of each label are keyed by it."""
        each = zip(self.labels, self.precision, self.recall, self.f1, self.support, strict=True)
        return {
            "rows": self.rows,
            "threshold": self.threshold,
            "micro_f1": self.micro_f1,
            "macro_f1": self.macro_f1,
            "exact_match": self.exact_match,
            "log_loss": self.log_loss,
            "per_label": {
                label: {"precision": precision, "recall": recall, "f1": f1, "rows": rows}
                for label, precision, recall, f1, rows in each
            },
        }


@dataclass(frozen=True, kw_only=True)
class MultiLabel(Probabilities):
    """Any of several labels; the output has a probability for each, which do not sum to 1.

    Attributes:
        threshold: a label holds from this probability up.
    """

    output: str = PROBABILITIES
    threshold: float = THRESHOLD

    def __post_init__(self) -> None:
        if not 0 < self.threshold < 1:
            raise ValueError(f"threshold must be between 0 and 1, not {self.threshold:g}")

    @property
    def activations(self) -> Mapping[str, Activation]:
        """See ``Task.activations``."""
        return {self.output: "sigmoid"}

    def postprocessing(self, names: Names) -> Classification:
        """The label names."""
        return Classification(output=self.output, labels=names)

    def measure(self, answers: Array, truth: Array, *, names: Names) -> LabelSetFigures:
        """Compare probabilities, float32 (rows, labels), with the truth, bool (rows, labels)."""
        from sklearn.metrics import f1_score, precision_recall_fscore_support

        given = answers >= self.threshold
        precision, recall, f1, support = precision_recall_fscore_support(truth, given, average=None, zero_division=0)
        right = np.where(truth, answers, 1 - answers).astype(np.float64)
        return LabelSetFigures(
            rows=len(truth),
            labels=names,
            threshold=self.threshold,
            micro_f1=float(f1_score(truth, given, average="micro", zero_division=0)),
            macro_f1=float(f1_score(truth, given, average="macro", zero_division=0)),
            exact_match=float((given == truth).all(axis=1).mean()),
            log_loss=float(-np.log(np.maximum(right, SMALLEST_PROBABILITY)).mean()),
            precision=tuple(precision.tolist()),
            recall=tuple(recall.tolist()),
            f1=tuple(f1.tolist()),
            support=tuple(support.tolist()),
        )

    def restore(self, document: dict[str, Any]) -> LabelSetFigures:
        """Inverse of ``LabelSetFigures.as_json``."""
        per_label = document["per_label"].values()
        return LabelSetFigures(
            labels=tuple(document["per_label"]),
            precision=tuple(figures["precision"] for figures in per_label),
            recall=tuple(figures["recall"] for figures in per_label),
            f1=tuple(figures["f1"] for figures in per_label),
            support=tuple(figures["rows"] for figures in per_label),
            **{name: value for name, value in document.items() if name != "per_label"},
        )

    def statistics(self, answers: Array, truth: Array, *, names: Names) -> Mapping[str, Any]:
        """Share of the rows that have each label, and that are given it."""
        given = (answers >= self.threshold).mean(axis=0)
        return {
            "rows": len(answers),
            "label_shares": dict(zip(names, truth.mean(axis=0).tolist(), strict=True)),
            "predicted_shares": dict(zip(names, given.tolist(), strict=True)),
        }
