"""The layouts of a version directory: Atelier's own, and graphs that other tools wrote.

A directory with backend.json is run by an installed package, or its graph has a step of such a package around it.

Sources: TensorFlow Serving (NAME/N/saved_model.pb), Triton (NAME/config.pbtxt, N/model.onnx, N/model.savedmodel/).
"""

import os
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from app.contract.golden import GOLDEN_FILE
from app.contract.manifest import MANIFEST_FILE
from app.contract.model_spec import ONNX_FILE, SAVED_MODEL_FILE, SPEC_FILE
from app.errors import VersionRefused
from app.repository.backend_file import BACKEND_FILE, Plugin, read_backend_file
from app.repository.triton.model import model_filename, states_an_ensemble, states_other_versions

TRITON_SAVED_MODEL = "model.savedmodel"
# A directory with one of these and without a manifest is a copy in progress.
_ONLY_OURS = (SPEC_FILE, GOLDEN_FILE, "metrics.json", "baseline.json", "card.md")


class Layout(Enum):
    """The layout of a version."""

    ATELIER = "a version with a manifest"
    FOREIGN = "a graph that another tool wrote"


@dataclass(frozen=True)
class ForeignFiles:
    """Files from which a version of another tool can run, as paths inside the version.

    Attributes:
        graph: an ONNX graph; None without one.
        saved_model: the directory with saved_model.pb, "" for the version itself; None without one.
        is_named: whether the settings of another server name it.
        plugin: what backend.json names; None without that file.
    """

    graph: str | None
    saved_model: str | None
    is_named: bool = False
    plugin: Plugin | None = None

    @property
    def in_words(self) -> str:
        """Names of the existing files, for messages."""
        saved = None if self.saved_model is None else f"{self.saved_model}/{SAVED_MODEL_FILE}".lstrip("/")
        return " and ".join(name for name in (self.graph, saved) if name is not None)


def layout_of(directory: Path) -> Layout | None:
    """The layout of a version directory; None if it is not a version, or not complete yet.

    Next to a config.pbtxt any directory with a file in it is a version, and of an ensemble also an empty one: what
    cannot run is refused with the reason.
    """
    if (directory / MANIFEST_FILE).is_file():
        return Layout.ATELIER
    if os.path.lexists(directory / BACKEND_FILE):
        return Layout.FOREIGN
    if any((directory / name).exists() for name in _ONLY_OURS):
        return None
    found = _by_their_names(directory)
    if found.graph is not None or found.saved_model is not None:
        return Layout.FOREIGN
    if not states_other_versions(directory.parent):
        return None
    return Layout.FOREIGN if _has_content(directory) or _is_of_an_ensemble(directory) else None


def foreign_files(directory: Path) -> ForeignFiles:
    """What a version without a manifest can be run from; at least one of all.

    Raises:
        VersionRefused: backend.json or config.pbtxt cannot be read or followed, or names what is not in the version; or
            there is nothing to run.
    """
    if os.path.lexists(directory / BACKEND_FILE):
        return ForeignFiles(None, None, plugin=read_backend_file(directory))
    if named := model_filename(directory.parent):
        found = ForeignFiles(
            named if (directory / named).is_file() else None,
            named if (directory / named / SAVED_MODEL_FILE).is_file() else None,
            is_named=True,
        )
        missing = f"default_model_filename is {named!r}, which is not in the version"
    else:
        found = _by_their_names(directory)
        missing = f"neither {ONNX_FILE} nor {SAVED_MODEL_FILE} nor {TRITON_SAVED_MODEL}/ is in the version"
    if found.graph is None and found.saved_model is None:
        raise VersionRefused(f"{directory}: {missing}")
    return found


def _by_their_names(directory: Path) -> ForeignFiles:
    places = (place for place in ("", TRITON_SAVED_MODEL) if (directory / place / SAVED_MODEL_FILE).is_file())
    return ForeignFiles(ONNX_FILE if (directory / ONNX_FILE).is_file() else None, next(places, None))


def _is_of_an_ensemble(directory: Path) -> bool:
    return directory.is_dir() and states_an_ensemble(directory.parent)


def _has_content(directory: Path) -> bool:
    try:
        with os.scandir(directory) as found:
            return any(not each.name.startswith(".") for each in found)
    except (FileNotFoundError, NotADirectoryError):
        return False
