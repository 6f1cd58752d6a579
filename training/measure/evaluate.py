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
        precision, recall: per class; precision is 0 for a class that is never predicted.
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
    confusion: tuple[tuple[int, ...], ...]
    bins: tuple[tuple[float, float, int], ...]

    @property
    def headline(self) -> str:
        """The accuracy."""
        return f"accuracy {self.accuracy:.4f}"

    def as_json(self) -> dict[str, Any]:
        """For metrics.json: figures per class are keyed by label."""
        per_class = zip(self.labels, self.precision, self.recall, strict=True)
        return {
            "rows": self.rows,
            "accuracy": self.accuracy,
            "log_loss": self.log_loss,
            "calibration_error": self.calibration_error,
            "calibration_interval": list(self.calibration_interval) if self.calibration_interval else None,
            "per_class": {label: {"precision": precision, "recall": recall} for label, precision, recall in per_class},
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
            confusion=tuple(tuple(row) for row in document["confusion"]),
            bins=tuple((confidence, accuracy, rows) for confidence, accuracy, rows in document["calibration_bins"]),
        )


def predict(model: Any, feed: Feed, examples: Examples, *, batch_size: int) -> npt.NDArray[np.float32]:
    """The network's answers to ``examples``, in their order: float32 (rows, width)."""
    dataset, order = feed.evaluation(examples, batch_size=batch_size)
    answers = model.predict(dataset, verbose=0)
    probabilities: npt.NDArray[np.float32] = np.empty_like(answers)
    probabilities[order] = answers
    return probabilities


def evaluate(
    probabilities: npt.NDArray[np.float32], labels: npt.NDArray[np.int32], *, names: tuple[str, ...]
) -> Evaluation:
    """Compare predictions with the truth.

    Args:
        probabilities: float32 (rows, classes), rows sum to 1.
        labels: int32 (rows,), the right classes.
        names: class names.
    """
    classes = len(names)
    predicted = probabilities.argmax(axis=1)
    confusion = np.bincount(labels * classes + predicted, minlength=classes * classes).reshape(classes, classes)
    right = np.diag(confusion)
    chosen = probabilities[np.arange(len(labels)), labels]
    calibration = calibration_error(probabilities.max(axis=1), predicted == labels)
    return Evaluation(
        labels=names,
        rows=len(labels),
        accuracy=float(right.sum() / len(labels)),
        log_loss=float(-np.log(np.maximum(chosen, SMALLEST_PROBABILITY)).mean()),
        calibration_error=calibration.value,
        calibration_interval=calibration.interval,
        precision=tuple((right / np.maximum(confusion.sum(axis=0), 1)).tolist()),
        recall=tuple((right / np.maximum(confusion.sum(axis=1), 1)).tolist()),
        confusion=tuple(tuple(row) for row in confusion.tolist()),
        bins=calibration.bins,
    )


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
