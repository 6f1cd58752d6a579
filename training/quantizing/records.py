"""Figures of a quantised version beside those of the published one, and the files of the version that state them."""

import datetime
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from app.contract.model_spec import ModelSpec
from training.measure.decisive import name_of, shown
from training.measure.tasks import Measured
from training.runs.directories import CARD_FILE, METRICS_FILE, QUANTIZED, read_metrics


@dataclass(kw_only=True)
class Quantized:
    """The result.

    Attributes:
        directory: of the new version.
        before, after: figures on the validation rows.
        same: share of the validation rows with the same answer; None without classes.
        difference: largest difference of an answer to a golden sample, as a share of the largest answer.
        size_bytes: name -> size of model.onnx.
        seconds: name -> batch size -> seconds a row, with one thread.
        holds_default: whether the version that was quantised got the label "stable", see ``labels``.
    """

    directory: Path = Path()
    before: Measured
    after: Measured
    same: float | None
    difference: float
    size_bytes: dict[str, int] = field(default_factory=dict)
    seconds: dict[str, dict[int, float]] = field(default_factory=dict)
    holds_default: bool = False

    def as_json(self) -> dict[str, Any]:
        """For metrics.json."""
        return {
            "validation": {"before": self.before.as_json(), "after": self.after.as_json()},
            "same_answers": self.same,
            "largest_difference": self.difference,
            "bytes": self.size_bytes,
            "seconds_per_row": self.seconds,
        }


def write_records(
    found: Quantized,
    spec: ModelSpec,
    *,
    version: Path,
    kind: str,
    calibration_rows: int | None,
    command: str,
    directory: Path,
) -> None:
    """metrics.json and card.md of the quantised version.

    Args:
        found: the figures.
        spec: contract of both versions.
        version: directory of the published one.
        kind: int8 or float16.
        calibration_rows: None if none were needed.
        command: that was given.
        directory: of the new version.
    """
    published = read_metrics(version)
    document = {
        "model": spec.name,
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "command": command,
        QUANTIZED: {
            "kind": kind,
            "version": version.name,
            "calibration_rows": calibration_rows,
            **found.as_json(),
        },
        "dataset": published["dataset"],
        "parameters": published["parameters"],
    }
    _write(directory / METRICS_FILE, json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n")
    same = "" if found.same is None else f" {100 * found.same:.2f} % of the answers are the same."
    speeds = "".join(
        f"| {size} | {' | '.join(f'{1e6 * each[size]:.0f}' for each in found.seconds.values())} |\n"
        for size in next(iter(found.seconds.values()))
    )
    _write(
        directory / CARD_FILE,
        f"# {spec.name}\n\n{spec.description}\n\nVersion {version.name} as {kind}: "
        f"{name_of(found.after)} {shown(found.after)} on {found.after.rows} validation rows; "
        f"version {version.name} has {shown(found.before)}.{same} The card of version {version.name} says how it was "
        "trained, and what it had on the test part.\n\n"
        f"| rows in a batch | {' | '.join(f'{name}, us a row' for name in found.seconds)} |\n|---|---|---|\n{speeds}\n"
        f"Command: `{command}`\n",
    )


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8", newline="\n")
