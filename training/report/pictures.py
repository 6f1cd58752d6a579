"""Figures of a report, each as a matplotlib figure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from training.measure.drawing import figure
from training.measure.tasks import Array

History = Sequence[Mapping[str, float]]
Bins = Sequence[Sequence[float]]

LEARNING_RATE = "learning_rate"
_NO_CURVES = {"epoch", "seconds"}
_IN_A_ROW = 3
MOST_POINTS = 5000
"""Most points of a residual plot."""


@dataclass(frozen=True, kw_only=True)
class Roc:
    """Receiver operating characteristic of one of two classes.

    Attributes:
        false_positive, true_positive: rates, a point for each threshold.
        area: under the curve: the chance that a row of the class gets a higher probability than one of the other.
        label: name of the class.
    """

    false_positive: Array
    true_positive: Array
    area: float
    label: str


def draw_curves(histories: Mapping[str, History], *, only: str | None = None) -> Any:
    """Each measure over the epochs, the learning rate last.

    The curves of one run share a pane, training and validation; those of several have a pane each, a colour for each
    run.

    Args:
        histories: name of a run -> one row per epoch.
        only: one measure, for example ``loss``; None draws all.
    """
    columns = dict.fromkeys(column for history in histories.values() for row in history for column in row)
    measures = [column for column in columns if column not in _NO_CURVES and column[:4] != "val_"]
    measures.sort(key=lambda measure: measure == LEARNING_RATE)
    measures = [measure for measure in measures if only in {None, measure}] or [only or "loss"]
    parts = [[(name, label) for name, label in _parts(each) if name in columns] for each in measures]
    panes = parts if len(histories) == 1 else [[part] for both in parts for part in both]
    across = min(_IN_A_ROW, max(1, len(panes)))
    down = max(1, -(-len(panes) // across))
    drawn = figure(width=(4.8 if across < _IN_A_ROW else 3.6) * across, height=3.6 * down)
    for axes, shown in zip(drawn.subplots(down, across, squeeze=False).ravel(), panes, strict=False):
        for run, history in histories.items():
            for column, label in shown:
                points = [(row["epoch"], row[column]) for row in history if column in row]
                axes.plot(*(zip(*points, strict=True) if points else ((), ())), marker=".", label=_plain(label))
                if len(histories) > 1:
                    axes.get_lines()[-1].set_label(_plain(run))
        column, label = shown[0] if shown else ("", "")
        measure = column.removeprefix("val_").replace("_", " ")
        axes.set(xlabel="epoch", title=f"{label} {measure}".strip() if len(histories) > 1 else measure)
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(alpha=0.3)
        if len(axes.get_lines()) > 1:
            axes.legend(fontsize=7)
    for axes in drawn.axes[len(panes) :]:
        axes.set_axis_off()
    return drawn


def _parts(measure: str) -> list[tuple[str, str]]:
    """(column of the history, its part) of a measure; the learning rate has no part."""
    if measure == LEARNING_RATE:
        return [(measure, "")]
    return [(measure, "training"), (f"val_{measure}", "validation")]


def draw_confusion(labels: Sequence[str], confusion: Sequence[Sequence[int]]) -> Any:
    """Counts of confusion[right][predicted], coloured by the share of the right class."""
    drawn = figure(width=max(6.4, 0.42 * len(labels)), height=max(4.4, 0.36 * len(labels)))
    axes = drawn.subplots()
    shares = [[count / max(1, sum(row)) for count in row] for row in confusion]
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    places = range(len(labels))
    axes.set_xticks(places, [_plain(label) for label in labels], rotation=45, ha="right")
    axes.set_yticks(places, [_plain(label) for label in labels])
    axes.set(xlabel="predicted", ylabel="right")
    for row in places:
        for column in places:
            colour = "white" if shares[row][column] > 0.5 else "black"
            axes.text(column, row, str(confusion[row][column]), ha="center", va="center", color=colour, fontsize=7)
    return drawn


def draw_calibration(curves: Mapping[str, Bins]) -> Any:
    """Reliability diagram: accuracy over confidence.

    Args:
        curves: name -> (mean confidence, accuracy, rows) of each bin.
    """
    drawn = figure()
    axes = drawn.subplots()
    axes.plot([0, 1], [0, 1], color="grey", linestyle="--", label="perfect")
    for name, bins in curves.items():
        axes.plot([each[0] for each in bins], [each[1] for each in bins], marker="o", markersize=4, label=name)
    axes.set(xlabel="confidence", ylabel="accuracy", xlim=(0, 1), ylim=(0, 1))
    axes.grid(alpha=0.3)
    axes.legend()
    return drawn


def draw_roc(roc: Roc) -> Any:
    """ROC curve of one class against the other."""
    drawn = figure()
    axes = drawn.subplots()
    axes.plot([0, 1], [0, 1], color="grey", linestyle="--", label="chance")
    axes.plot(roc.false_positive, roc.true_positive, label=f"area {roc.area:.4f}")
    axes.set(xlabel="false positive rate", ylabel="true positive rate", title=_plain(roc.label))
    axes.grid(alpha=0.3)
    axes.legend()
    return drawn


def draw_residuals(answers: Array, truth: Array) -> Any:
    """Answer minus truth over the answer, and how often each difference occurs.

    Args:
        answers, truth: float (rows, width); all values in one plot, the first MOST_POINTS of them.
    """
    given, difference = answers.ravel()[:MOST_POINTS], (answers - truth).ravel()[:MOST_POINTS]
    drawn = figure(width=8.4)
    points, counts = drawn.subplots(1, 2, width_ratios=(3, 2))
    points.scatter(given, difference, s=8, alpha=0.5)
    points.axhline(0, color="grey", linestyle="--")
    points.set(xlabel="answer", ylabel="answer minus truth")
    points.grid(alpha=0.3)
    counts.hist(difference, bins=30)
    counts.set(xlabel="answer minus truth", ylabel="rows")
    return drawn


def _plain(text: str) -> str:
    """A text that matplotlib takes neither for a formula nor for a curve without a legend."""
    return f"{' ' * text.startswith('_')}{text}".replace("$", r"\$")
