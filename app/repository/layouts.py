"""The forms of a version directory: Atelier's own, and a bare ONNX graph that another tool wrote."""

from enum import Enum
from itertools import islice
from pathlib import Path

from app.contract.golden import GOLDEN_FILE
from app.contract.manifest import MANIFEST_FILE
from app.contract.model_spec import ONNX_FILE, SPEC_FILE

# A directory with one of these and without a manifest is a copy in progress.
_ONLY_OURS = (SPEC_FILE, GOLDEN_FILE, "metrics.json", "baseline.json", "card.md")


# Files and directories below one model, in all its versions.
MOST_ENTRIES = 2**16


class Layout(Enum):
    """The form of a version."""

    ATELIER = "a version with a manifest"
    BARE = "a graph alone"


def has_own_versions(model_directory: Path) -> bool:
    """Whether one of the directories of a model has a manifest."""
    return any((each / MANIFEST_FILE).is_file() for each in islice(model_directory.iterdir(), MOST_ENTRIES))


def layout_of(directory: Path) -> Layout | None:
    """The form of a version directory; None if it is no version, or not complete yet."""
    if (directory / MANIFEST_FILE).is_file():
        return Layout.ATELIER
    if (directory / ONNX_FILE).is_file() and not any((directory / name).exists() for name in _ONLY_OURS):
        return Layout.BARE
    return None
