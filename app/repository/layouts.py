"""The forms of a version directory: Atelier's own, and a bare ONNX graph that another tool wrote."""

from enum import Enum
from pathlib import Path

from app.contract.golden import GOLDEN_FILE
from app.contract.manifest import MANIFEST_FILE
from app.contract.model_spec import ONNX_FILE, SPEC_FILE

# A directory with one of these and without a manifest is a copy in progress.
_ONLY_OURS = (SPEC_FILE, GOLDEN_FILE, "metrics.json", "baseline.json", "card.md")


class Layout(Enum):
    """The form of a version."""

    ATELIER = "a version with a manifest"
    BARE = "a graph alone"


def layout_of(directory: Path) -> Layout | None:
    """The form of a version directory; None if it is no version, or not complete yet."""
    if (directory / MANIFEST_FILE).is_file():
        return Layout.ATELIER
    if (directory / ONNX_FILE).is_file() and not any((directory / name).exists() for name in _ONLY_OURS):
        return Layout.BARE
    return None
