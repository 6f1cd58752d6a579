"""The directories of runs and versions: the one for a new run, the one to resume, the newest version. Does not import
TensorFlow."""

import datetime
import json
from pathlib import Path
from typing import Any

from training.errors import RunNotFound, SettingRefused

CONFIG_FILE = "config.json"
METRICS_FILE = "metrics.json"
TEST_FILE = "test.json"
BASELINE_FILE = "baseline.json"
CARD_FILE = "card.md"
RETRAINED = "retrained"
"""Member of config.json and metrics.json of a run of ``training retrain``, which does not continue."""
QUANTIZED = "quantized"
"""Member of metrics.json of a version of ``training quantize``."""


def new_directory(root: Path, name: str, identifier: str | None) -> Path:
    """``root/name/identifier``, which must not exist; without an identifier, the current time.

    Raises:
        RunNotFound: a run with that identifier exists.
    """
    identifier = identifier or datetime.datetime.now().astimezone().strftime("%Y%m%d-%H%M%S")
    directory = root / name / identifier
    if (directory / CONFIG_FILE).exists():
        raise RunNotFound(f"{directory} already contains a run; continue it with --resume, or choose another --run-id")
    return directory


def unfinished_directory(root: Path, name: str, identifier: str | None) -> Path:
    """The run to continue: ``identifier``, or the newest unpublished run of the recipe.

    Raises:
        RunNotFound: the run does not exist.
    """
    candidates = [root / name / identifier] if identifier else sorted((root / name).glob("*"), reverse=True)
    for directory in candidates:
        if (directory / CONFIG_FILE).is_file() and "published" not in read_metrics(directory):
            if RETRAINED not in read_config(directory):
                return directory
            if identifier:
                raise RunNotFound(
                    f"{directory} is a run of `training retrain`, which does not continue; start it again"
                )
    raise RunNotFound(f"no run of {name} under {root} is left to resume; start one without --resume")


def read_config(directory: Path) -> dict[str, Any]:
    """config.json of a run.

    Raises:
        RunNotFound: it does not exist.
    """
    try:
        config: dict[str, Any] = json.loads((directory / CONFIG_FILE).read_text(encoding="utf-8"))
    except OSError as error:
        raise RunNotFound(f"{directory} is not a run: it has no {CONFIG_FILE}") from error
    return config


def read_metrics(directory: Path) -> dict[str, Any]:
    """metrics.json of a run or of a published version; empty if it does not exist."""
    path = directory / METRICS_FILE
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def latest_version(models: Path, name: str) -> Path | None:
    """Directory of the highest published version of a model that is no quantised form of another; None without one."""
    versions = [path for path in (models / name).glob("*") if path.name.isdecimal() and path.is_dir()]
    versions.sort(key=lambda path: (int(path.name), -len(path.name)), reverse=True)
    return next((version for version in versions if QUANTIZED not in read_metrics(version)), None)


def published_version(models: Path, name: str, number: int | None) -> Path:
    """Directory of a published version, by default the one of ``latest_version``.

    Raises:
        SettingRefused: there is none, or not that one.
    """
    newest = latest_version(models, name)
    if newest is None:
        raise SettingRefused(
            f"no version of {name} is published under {models}; train one first: "
            f"python -m training run {name} --publish"
        )
    version = newest if number is None else newest.with_name(str(number))
    if not version.is_dir():
        raise SettingRefused(f"{name} has no version {number} under {models}; the newest is {newest.name}")
    return version
