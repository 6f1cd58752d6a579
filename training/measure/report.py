"""Report of a run: its pictures as PNG files, and report.html, which embeds them."""

import base64
import html
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from training.disk import replaced
from training.measure.card import facts
from training.measure.drawing import figure, save
from training.measure.evaluate import Evaluation
from training.measure.findings import Findings
from training.measure.tasks import Measured

REPORT_FILE = "report.html"
MOST_CLASSES = 50
"""A confusion matrix of more classes is unreadable."""


def write_report(
    name: str,
    measured: Measured | None,
    history: Sequence[Mapping[str, float]],
    metrics: Mapping[str, Any],
    findings: Findings,
    *,
    directory: Path,
) -> Path:
    """Draw the figures and write the page of a trained model.

    Args:
        name: of the model.
        measured: on the test set if it was used, else on the validation set.
        history: one row per epoch.
        metrics: metrics.json of the run.
        findings: of the recipe's study.
        directory: of the run.

    Returns:
        Path of report.html.
    """
    pictures = {"Training": _draw_curves(history, directory / "curves.png")}
    tables = ""
    if isinstance(measured, Evaluation) and len(measured.labels) <= MOST_CLASSES:
        pictures["Confusion matrix"] = _draw_confusion(measured, directory / "confusion.png")
        pictures["Calibration"] = _draw_calibration(measured, directory / "calibration.png")
        tables = _class_table(measured)
    body = _table(facts(metrics)) + _notes(findings) + tables
    return write_page(name, body, {**findings.pictures, **pictures}, directory=directory)


def write_lesson_report(name: str, description: str, findings: Findings, *, directory: Path) -> Path:
    """Write the page of a lesson: every figure with its expected value."""
    rows = [
        (finding.name, finding.shown, finding.wanted, {True: "yes", False: "NO", None: ""}[finding.holds])
        for finding in findings.figures
    ]
    cells = "".join(f"<tr><th>{'<td>'.join(html.escape(cell) for cell in row)}" for row in rows)
    table = f"<table><tr><th>figure<th>measured<th>expected<th>agrees{cells}</table>"
    body = f"<p>{html.escape(description)}</p>{table}{_notes(findings)}"
    return write_page(name, body, findings.pictures, directory=directory)


def write_page(name: str, body: str, pictures: Mapping[str, Path], *, directory: Path) -> Path:
    """Write report.html: a heading, ``body`` as HTML, and the pictures under their titles."""
    drawn = "".join(
        f'<h2>{html.escape(title)}</h2><img alt="{html.escape(title)}" src="{_inline(path)}">'
        for title, path in pictures.items()
    )
    path = directory / REPORT_FILE
    page = (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{html.escape(name)}</title>'
        "<style>body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}"
        "th{text-align:left;padding-right:1.5rem;font-weight:500}td{padding-right:1.5rem}img{max-width:100%}</style>"
        f"<h1>{html.escape(name)}</h1>{body}{drawn}</html>\n"
    )
    with replaced(path) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return path


def _inline(path: Path) -> str:
    return f"data:image/png;base64,{base64.b64encode(path.read_bytes()).decode()}"


def _table(rows: Sequence[tuple[str, str]]) -> str:
    cells = "".join(f"<tr><th>{html.escape(key)}<td>{html.escape(value)}" for key, value in rows)
    return f"<table>{cells}</table>"


def _notes(findings: Findings) -> str:
    return "".join(f"<p>{html.escape(note)}</p>" for note in findings.notes)


def _class_table(evaluation: Evaluation) -> str:
    rows = "".join(
        f"<tr><th>{html.escape(label)}<td>{precision:.3f}<td>{recall:.3f}"
        for label, precision, recall in zip(evaluation.labels, evaluation.precision, evaluation.recall, strict=True)
    )
    return f"<h2>Classes</h2><table><tr><th>class<th>precision<th>recall{rows}</table>"


def _draw_curves(history: Sequence[Mapping[str, float]], path: Path) -> Path:
    """Loss and each metric over the epochs, training and validation."""
    columns = [
        column for column in (history[0] if history else {}) if column not in {"epoch", "seconds", "learning_rate"}
    ]
    measures = [column for column in columns if not column.startswith("val_")] or ["loss"]
    drawn = figure(width=3.2 * max(2, len(measures)))
    panes = drawn.subplots(1, len(measures), squeeze=False)[0]
    for axes, measure in zip(panes, measures, strict=True):
        for column, label in ((measure, "training"), (f"val_{measure}", "validation")):
            points = [(row["epoch"], row[column]) for row in history if column in row]
            if points:
                axes.plot([epoch for epoch, _ in points], [value for _, value in points], marker=".", label=label)
        axes.set(xlabel="epoch", title=measure)
        axes.grid(alpha=0.3)
        axes.legend()
    return save(drawn, path)


def _draw_confusion(evaluation: Evaluation, path: Path) -> Path:
    drawn = figure()
    axes = drawn.subplots()
    shares = [[count / max(1, sum(row)) for count in row] for row in evaluation.confusion]
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    places = range(len(evaluation.labels))
    axes.set_xticks(places, evaluation.labels, rotation=45, ha="right")
    axes.set_yticks(places, evaluation.labels)
    axes.set(xlabel="predicted", ylabel="right")
    for row in places:
        for column in places:
            colour = "white" if shares[row][column] > 0.5 else "black"
            count = evaluation.confusion[row][column]
            axes.text(column, row, str(count), ha="center", va="center", color=colour, fontsize=7)
    return save(drawn, path)


def _draw_calibration(evaluation: Evaluation, path: Path) -> Path:
    drawn = figure()
    axes = drawn.subplots()
    axes.plot([0, 1], [0, 1], color="grey", linestyle="--", label="perfect")
    axes.plot(
        [confidence for confidence, _, _ in evaluation.bins],
        [accuracy for _, accuracy, _ in evaluation.bins],
        marker="o",
        label=f"measured, error {evaluation.calibration_error:.3f}",
    )
    axes.set(xlabel="confidence", ylabel="accuracy", xlim=(0, 1), ylim=(0, 1))
    axes.grid(alpha=0.3)
    axes.legend()
    return save(drawn, path)
