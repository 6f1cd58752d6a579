"""The labels of a quantised version in serving.json: the version that answers by default stays the default."""

import json
from pathlib import Path
from typing import Any

from app.contract.files.replacing import write_whole
from training.errors import SettingRefused

SERVING_FILE, LABELS, STABLE = "serving.json", "version_labels", "stable"


def check_label(model: Path, label: str) -> None:
    """Refuse a label that cannot name the new version, before the work.

    Raises:
        SettingRefused: the label has another meaning, or serving.json cannot be read.
    """
    if label in {STABLE, "canary"}:
        raise SettingRefused(f"--label {label}: this label decides which version answers by default; choose another")
    _read(model)


def keep_default(model: Path, version: int) -> bool:
    """Give a version the label "stable", unless one has it. Returns whether it did.

    Newer versions then answer only by their number or label.
    """
    document = _read(model)
    labels = document.setdefault(LABELS, {})
    if STABLE in labels:
        return False
    labels[STABLE] = version
    _write(model, document)
    return True


def set_label(model: Path, label: str, version: int) -> None:
    """Let a label name a version."""
    document = _read(model)
    document.setdefault(LABELS, {})[label] = version
    _write(model, document)


def _read(model: Path) -> dict[str, Any]:
    path = model / SERVING_FILE
    if not path.exists():
        return {}
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SettingRefused(f"{path} cannot be read: {error}") from error
    if not isinstance(document, dict) or not isinstance(document.get(LABELS, {}), dict):
        raise SettingRefused(f"{path}: the document and its {LABELS} must be objects; correct it first")
    return document


def _write(model: Path, document: dict[str, Any]) -> None:
    write_whole(model / SERVING_FILE, (json.dumps(document, indent=2, ensure_ascii=False) + "\n").encode())
