"""Several runs on one page: their figures in a table, their curves in one picture, the settings that differ."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from training.measure.card import figures_of
from training.report.page import inline, png, write_page
from training.report.pictures import draw_curves
from training.report.reported import Document, Reported


def write_comparison(runs: Sequence[Reported], path: Path) -> Path:
    """Write the page.

    Args:
        runs: at least two, with different titles.
        path: of the HTML file.
    """
    histories = {run.title: run.history for run in runs if run.history}
    return write_page(
        path,
        "comparison.html",
        title="Comparison of " + ", ".join(run.title for run in runs),
        names=[run.title for run in runs],
        figures=_table({run.title: _figures(run.metrics) for run in runs}),
        settings=_differing({run.title: run.metrics.get("settings", {}) for run in runs}),
        curves=inline(png(draw_curves(histories))) if histories else "",
        without=[run.title for run in runs if not run.history],
    )


def _figures(metrics: Document) -> dict[str, str]:
    """Name -> value, in the order of the table."""
    found = {"model": metrics["model"], "date": metrics["date"]}
    for part in ("validation", "test"):
        found |= dict(figures_of(metrics[part] or {}, part))
    calibration = metrics.get("calibration") or {}
    found["temperature"] = f"{calibration['temperature']:.3f}" if calibration.get("adopted") else "none"
    data = metrics["dataset"]
    return found | {
        "data": f"{data['name']} ({data['form']}), {data['counts']['train']} rows to train",
        "parameters": f"{metrics['parameters']:,}",
        "epochs": f"{metrics['epochs']}, weights of epoch {metrics['kept_epoch']}",
        "training time": f"{metrics['seconds']['training']:.1f} s",
        "CPU": f"{metrics['hardware']['cpu']}, {metrics['hardware']['cpu_count']} cores",
    }


def _table(columns: Mapping[str, Mapping[str, str]]) -> list[tuple[str, list[str]]]:
    """(name of a row, a value for each run), with every row that a run has."""
    rows = dict.fromkeys(name for column in columns.values() for name in column)
    return [(name, [column.get(name, "") for column in columns.values()]) for name in rows]


def _differing(settings: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, list[str]]]:
    """The settings that are not the same in all runs."""
    texts = {name: {path: str(value) for path, value in found.items()} for name, found in settings.items()}
    return [(name, values) for name, values in _table(texts) if len(set(values)) > 1]
