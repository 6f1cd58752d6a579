"""Measures a classifier on held-out examples: accuracy, per-class figures, confusion matrix, calibration, log loss."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from training.data.pipelines import Feed
from training.datasets.splits import Examples
from training.measure.calibration import calibration_error

SMALLEST_PROBABILITY = 1e-7  # keeps the log loss finite if a class got the probability 0


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Held-out figures.

    Attributes:
        rows: number of examples.
        accuracy: share whose most probable class is the right one.
        log_loss: mean of -ln(probability of the right class).
        calibration_error: expected calibration error, see ``training.measure.calibration``.
        calibration_interval: its 95 % interval; None for figures of before 2026-12, which have none.
        precision, recall, f1: per class; 0 where nothing is divided by: precision of a class that is never predicted,
            recall of one that does not occur.
        confusion: confusion[right][predicted] is a count.
        bins: of the confidence: (mean confidence, accuracy, rows) of each.
    """

    labels: tuple[str, ...]
    rows: int
    accuracy: float
    log_loss: float
    calibration_error: float
    calibration_interval: tuple[float, float] | None
    precision: tuple[float, ...]
    recall: tuple[float, ...]
    f1: tuple[float, ...]
    confusion: tuple[tuple[int, ...], ...]
    bins: tuple[tuple[float, float, int], ...]

    @property
    def headline(self) -> str:
        """The accuracy."""
        return f"accuracy {self.accuracy:.4f}"

    def as_json(self) -> dict[str, Any]:
        """For metrics.json: figures per class are keyed by label."""
        per_class = zip(self.labels, self.precision, self.recall, self.f1, map(sum, self.confusion), strict=True)
        return {
            "rows": self.rows,
            "accuracy": self.accuracy,
            "log_loss": self.log_loss,
            "calibration_error": self.calibration_error,
            "calibration_interval": list(self.calibration_interval) if self.calibration_interval else None,
            "per_class": {
                label: {"precision": precision, "recall": recall, "f1": f1, "rows": rows}
                for label, precision, recall, f1, rows in per_class
            },
            "confusion": [list(row) for row in self.confusion],
            "calibration_bins": [list(row) for row in self.bins],
        }

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> "Evaluation":
        """Inverse of ``as_json``."""
        per_class = document["per_class"].values()
        interval = document.get("calibration_interval")
        return cls(
            labels=tuple(document["per_class"]),
            rows=document["rows"],
            accuracy=document["accuracy"],
            log_loss=document["log_loss"],
            calibration_error=document["calibration_error"],
            calibration_interval=(interval[0], interval[1]) if interval else None,
            precision=tuple(figures["precision"] for figures in per_class),
            recall=tuple(figures["recall"] for figures in per_class),
            f1=tuple(_f1(figures) for figures in per_class),
            confusion=tuple(tuple(row) for row in document["confusion"]),
            bins=tuple((confidence, accuracy, rows) for confidence, accuracy, rows in document["calibration_bins"]),
        )


def predict(model: Any, feed: Feed, examples: Examples, *, batch_size: int) -> npt.NDArray[Any]:
    """The network's answers to ``examples``, in their order.

    Returns:
        float32 (rows, width); of several outputs a structured array (rows,) with a field of float32 (width,) for each.
    """
    dataset, order = feed.evaluation(examples, batch_size=batch_size)
    found = model.predict(dataset, verbose=0)
    answers = _side_by_side(found, model.output_names) if isinstance(found, list) else found
    in_order: npt.NDArray[Any] = np.empty_like(answers)
    in_order[order] = answers
    return in_order


def _side_by_side(found: list[npt.NDArray[np.float32]], names: list[str]) -> npt.NDArray[Any]:
    kinds = [(name, each.dtype, each.shape[1:]) for name, each in zip(names, found, strict=True)]
    together = np.empty(len(found[0]), kinds)
    for name, each in zip(names, found, strict=True):
        together[name] = each
    return together


def evaluate(
    probabilities: npt.NDArray[np.float32], labels: npt.NDArray[np.int32], *, names: tuple[str, ...]
) -> Evaluation:
    """Compare predictions with the truth.

    Args:
        probabilities: float32 (rows, classes), rows sum to 1.
        labels: int32 (rows,), the right classes.
        names: class names.
    """
    from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

    predicted, classes = probabilities.argmax(axis=1), np.arange(len(names))
    confusion = confusion_matrix(labels, predicted, labels=classes)
    precision, recall, f1, _ = precision_recall_fscore_support(labels, predicted, labels=classes, zero_division=0)
    chosen = probabilities[np.arange(len(labels)), labels]
    calibration = calibration_error(probabilities.max(axis=1), predicted == labels)
    return Evaluation(
        labels=names,
        rows=len(labels),
        accuracy=float((predicted == labels).mean()),
        log_loss=float(-np.log(np.maximum(chosen, SMALLEST_PROBABILITY)).mean()),
        calibration_error=calibration.value,
        calibration_interval=calibration.interval,
        precision=tuple(precision.tolist()),
        recall=tuple(recall.tolist()),
        f1=tuple(f1.tolist()),
        confusion=tuple(tuple(row) for row in confusion.tolist()),
        bins=calibration.bins,
    )


def _f1(figures: dict[str, float]) -> float:
    """The F1 of a class; figures of before 2026-12 have none."""
    both = figures["precision"] + figures["recall"]
    return figures.get("f1", 2 * figures["precision"] * figures["recall"] / both if both else 0.0)


def prediction_statistics(
    probabilities: npt.NDArray[np.float32], labels: npt.NDArray[np.int32], *, names: tuple[str, ...]
) -> dict[str, Any]:
    """Frequencies of the true and the predicted classes, and the confidence of the predictions, for drift detection."""
    confidence = probabilities.max(axis=1)
    counts, edges = np.histogram(confidence, bins=np.linspace(0, 1, 21))
    return {
        "rows": len(labels),
        "label_shares": _shares(labels, names),
        "predicted_shares": _shares(probabilities.argmax(axis=1), names),
        "confidence": {
            "mean": float(confidence.mean()),
            "histogram": {"edges": edges.round(2).tolist(), "shares": (counts / counts.sum()).tolist()},
        },
    }


def _shares(classes: npt.NDArray[Any], names: tuple[str, ...]) -> dict[str, float]:
    counts = np.bincount(classes, minlength=len(names))
    return dict(zip(names, (counts / counts.sum()).tolist(), strict=True))
