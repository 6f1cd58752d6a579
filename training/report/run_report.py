"""The report of a run, or of a version: figures, curves and everything else on one page."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from training.disk import replaced
from training.measure.card import facts, heads_of
from training.measure.findings import Findings
from training.report import pictures
from training.report.page import REPORT_FILE, inline, png, write_page
from training.report.reported import Document, Reported

MOST_CLASSES = 50
"""A confusion matrix of more classes is unreadable."""
KEPT = {"curves", "confusion", "calibration"}
"""Pictures that a run also has as PNG files."""


def write_report(reported: Reported, path: Path, *, keep: Path | None = None) -> Path:
    """Write the page of a trained model.

    Args:
        reported: what is known of it.
        path: of the HTML file.
        keep: directory for the pictures KEPT; None keeps none.

    Returns:
        ``path``.
    """
    metrics, measured = reported.metrics, reported.figures
    roc = _roc(reported)
    drawn = {name: png(figure) for name, figure in _drawn(reported, roc)}
    if keep:
        for name in KEPT & drawn.keys():
            with replaced(keep / f"{name}.png") as temporary:
                temporary.write_bytes(drawn[name])
    return write_page(
        path,
        "run.html",
        name=reported.name,
        title=f"{reported.name}, {reported.title}",
        part=reported.part,
        facts=facts(metrics),
        notes=metrics.get("notes", []),
        version=_link(reported.version, path),
        version_name=f"{reported.version.parent.name}/{reported.version.name}" if reported.version else "",
        roc=roc,
        pictures={name: inline(picture) for name, picture in drawn.items()},
        heads=[head for head in heads_of(measured) if head],
        tables=[_table(head, figures) for head, figures in heads_of(measured).items() if _each(figures)],
        reliability=_reliability(reported),
        mistakes=reported.mistakes,
        layers=metrics.get("layers", []),
        cost=cost(metrics),
        packages=metrics["packages"],
        study={title: inline(file.read_bytes()) for title, file in reported.pictures.items() if file.is_file()},
    )


def write_lesson_report(name: str, description: str, findings: Findings, *, directory: Path) -> Path:
    """Write the page of a lesson: every figure with its expected value."""
    return write_page(
        directory / REPORT_FILE,
        "lesson.html",
        title=name,
        description=description,
        figures=findings.figures,
        notes=findings.notes,
        study={title: inline(file.read_bytes()) for title, file in findings.pictures.items()},
    )


def cost(metrics: Document) -> list[tuple[str, str]]:
    """(name, value): seconds of each phase and in all, and the machine."""
    seconds, hardware = metrics["seconds"], metrics["hardware"]
    return [
        *((phase, f"{spent:.1f} s") for phase, spent in seconds.items()),
        ("all phases", f"{sum(seconds.values()):.1f} s"),
        ("parameters", f"{metrics['parameters']:,}"),
        ("CPU", f"{hardware['cpu']}, {hardware['cpu_count']} cores"),
        ("threads of one operation", str(hardware.get("threads", "not recorded"))),
        ("system", str(hardware.get("system", "not recorded"))),
    ]


def _drawn(reported: Reported, roc: pictures.Roc | None) -> Sequence[tuple[str, Any]]:
    """(name, matplotlib figure) of what is known."""
    measured, found = reported.figures, []
    if reported.history:
        found.append(("curves", pictures.draw_curves({reported.title: reported.history})))
    for head, figures in heads_of(measured).items():
        labels = tuple(figures.get("per_class", {}))
        if 0 < len(labels) <= MOST_CLASSES:
            found.append((f"confusion{head and '-'}{head}", pictures.draw_confusion(labels, figures["confusion"])))
    if curves := _reliability(reported):
        found.append(("calibration", pictures.draw_calibration(curves)))
    if roc:
        found.append(("roc", pictures.draw_roc(roc)))
    predictions = reported.predictions.get(reported.part)
    for head, figures in heads_of(measured).items():
        if predictions and "rmse" in figures:
            answers, truth = predictions.of(head)
            found.append((f"residuals{head and '-'}{head}", pictures.draw_residuals(answers, truth)))
    return found


def _each(figures: Document) -> Mapping[str, Mapping[str, float]]:
    """Figures of each class or label; empty for numbers."""
    found: Mapping[str, Mapping[str, float]] = figures.get("per_label") or figures.get("per_class") or {}
    return found


def _table(head: str, figures: Document) -> dict[str, Any]:
    """The table of the classes or labels of an output."""
    kind = "label" if "per_label" in figures else "class"
    several = "Labels" if kind == "label" else "Classes"
    return {
        "kind": kind,
        "heading": f"{several} of {head}" if head else several,
        "id": f"classes{head and '-'}{head}",
        "mean": f"mean of the {several.lower()}",
        "rows": _each(figures),
        "averages": _averages(_each(figures)),
    }


def _reliability(reported: Reported) -> Mapping[str, pictures.Bins]:
    """Name of a curve -> its bins: validation before and after the temperature, and test."""
    metrics, curves = reported.metrics, {}
    calibration = metrics.get("calibration") or {}
    if calibration.get("adopted"):
        before = calibration["before"]
        curves[f"validation before calibration, error {_error(before)}"] = before["calibration_bins"]
    for part in ("validation", "test"):
        if (metrics[part] or {}).get("calibration_bins"):
            curves[f"{part}, error {_error(metrics[part])}"] = metrics[part]["calibration_bins"]
    return curves


def _error(figures: Document) -> str:
    return f"{figures['calibration_error']:.4f}"


def _roc(reported: Reported) -> pictures.Roc | None:
    """The ROC curve of the second of two classes; None for others, and if the part has only one of them."""
    from sklearn.metrics import roc_auc_score, roc_curve

    labels, predictions = tuple(reported.figures.get("per_class", {})), reported.predictions.get(reported.part)
    if predictions is None or len(labels) != 2 or len(np.unique(predictions.truth)) < 2:
        return None
    truth, score = predictions.truth, predictions.answers[:, 1]
    false_positive, true_positive, _ = roc_curve(truth, score)
    return pictures.Roc(
        false_positive=false_positive,
        true_positive=true_positive,
        area=float(roc_auc_score(truth, score)),
        label=labels[1],
    )


def _averages(per_class: Mapping[str, Mapping[str, float]]) -> Mapping[str, float]:
    """The mean of each figure over the classes."""
    rows = list(per_class.values())
    return {
        name: sum(row[name] for row in rows) / len(rows)
        for name in ("precision", "recall", "f1")
        if rows and name in rows[0]
    }


def _link(version: Path | None, path: Path) -> str:
    """The card of a version, relative to the page; empty without a version."""
    if version is None:
        return ""
    return Path(os.path.relpath(version / "card.md", path.parent)).as_posix()
