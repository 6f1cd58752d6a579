"""Reads the files of a run or of a published version for its report. Imports no TensorFlow."""

import difflib
import json
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from training.errors import RunNotFound
from training.fit.run_files import STATE_FILE, Progressed
from training.measure.predictions import TEST_FILE, VALIDATION_FILE, read_predictions
from training.report.page import REPORT_FILE
from training.report.reported import Reported
from training.report.run_report import write_report
from training.runs.directories import CONFIG_FILE, METRICS_FILE, latest_version, read_metrics

T = TypeVar("T")

MISTAKES_FILE = "mistakes.json"
PICTURES = "pictures"
"""Key of a run's metrics.json: title -> name of a PNG file of the recipe's study."""

_SAME_RUN = ("command", "date", "settings", "validation", "test")
_MANIFEST_FILE = "manifest.json"


def report_run(directory: Path, *, models: Path | None) -> Path:
    """Write report.html of a run, with its pictures; returns its path."""
    return write_report(run_of(directory, models=models), directory / REPORT_FILE, keep=directory)


def run_of(directory: Path, *, models: Path | None) -> Reported:
    """What a run has written.

    Args:
        directory: of the run.
        models: where its version may be; None links to none.

    Raises:
        RunNotFound: it is no run, has not ended, is one of a lesson, or a file of it is damaged.
    """
    if not (directory / CONFIG_FILE).is_file():
        raise RunNotFound(f"{directory} is not a run: it has no {CONFIG_FILE}")
    if not (directory / METRICS_FILE).is_file():
        raise RunNotFound(
            f"{directory} has no {METRICS_FILE}: the run has not ended; continue it with --resume, then report"
        )
    metrics = _trained(directory)
    kept = {part: _read(directory / file, read_predictions) for part, file in _PREDICTIONS.items()}
    published = models / metrics["published"] if models and "published" in metrics else None
    return Reported(
        name=metrics["model"],
        title=directory.resolve().name,
        metrics=metrics,
        history=_read(directory / STATE_FILE, lambda path: Progressed.read(path.parent)).history,
        predictions={part: found for part, found in kept.items() if found},
        mistakes=_read(directory / MISTAKES_FILE, _read_mistakes),
        pictures={title: directory / name for title, name in metrics.get(PICTURES, {}).items()},
        version=published if published and published.is_dir() else None,
    )


_PREDICTIONS = {"validation": VALIDATION_FILE, "test": TEST_FILE}


def version_of(directory: Path, *, runs: Path) -> tuple[Reported, Path | None]:
    """What is known of a published version, and the directory of its run; None if that is not in ``runs``.

    Raises:
        RunNotFound: the version is not the result of a training.
    """
    metrics = _trained(directory)
    for run in sorted((runs / metrics["model"]).glob("*"), reverse=True):
        if (run / CONFIG_FILE).is_file() and _same(_metrics(run), metrics):
            found = run_of(run, models=directory.parent.parent)
            return found, run
    title = f"version {directory.name}"
    return Reported(name=metrics["model"], title=title, metrics=metrics, version=directory), None


def find_version(models: Path, name: str, number: str | None) -> Path:
    """The directory of a published version; the newest without a number.

    Raises:
        RunNotFound: there is no such model or version; says which there are.
    """
    there = sorted(path.name for path in models.glob("*") if latest_version(models, path.name))
    if name not in there:
        near = difflib.get_close_matches(name, there, n=1)
        hint = f"did you mean {near[0]}?" if near else f"there are: {', '.join(there) or 'none'}"
        raise RunNotFound(
            f"{name!r} is neither the directory of a run nor a model with a version under {models}; {hint}"
        )
    newest = latest_version(models, name)
    assert newest is not None  # it is one of those that have one
    if number is None:
        return newest
    found = models / name / number
    if not number.isdecimal() or not found.is_dir():
        numbers = sorted(int(path.name) for path in newest.parent.glob("*") if path.name.isdecimal())
        raise RunNotFound(f"{name} has no version {number!r}; there are: {', '.join(map(str, numbers))}")
    return found


def is_version(directory: Path) -> bool:
    """Whether a directory is a published version, in which nothing may be written."""
    return (directory / _MANIFEST_FILE).is_file()


def _trained(directory: Path) -> Mapping[str, Any]:
    """metrics.json of a training."""
    metrics = _metrics(directory)
    if "target" not in metrics:
        raise RunNotFound(f"{directory} is not the result of a training: it is a lesson or was imported")
    return metrics


def _metrics(directory: Path) -> Mapping[str, Any]:
    return _read(directory / METRICS_FILE, lambda path: read_metrics(path.parent))


def _read(path: Path, read: Callable[[Path], T]) -> T:
    """What ``read`` makes of a file; RunNotFound if the file is damaged."""
    try:
        return read(path)
    except (ValueError, TypeError, KeyError, zipfile.BadZipFile) as error:  # of JSON, of its fields, of .npz
        raise RunNotFound(f"{path} is damaged: {error}") from error


def _read_mistakes(path: Path) -> list[Any]:
    found: list[Any] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else []
    return found


def _same(run: Mapping[str, Any], version: Mapping[str, Any]) -> bool:
    return all(run.get(key) == version.get(key) for key in _SAME_RUN)
