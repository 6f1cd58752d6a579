"""Which backend runs a version: in Atelier's layout, or in another tool's."""

from collections.abc import Sequence
from pathlib import Path

from app.contract.model_spec import ONNX_FILE, SAVED_MODEL_FILE
from app.contract.version_files import VersionFiles
from app.errors import VersionRefused
from app.repository.layouts import ForeignFiles
from app.repository.policy import BackendName


def backend_of(files: VersionFiles, stated: BackendName | None, default: BackendName) -> BackendName:
    """The backend of a version with model.json: from its model's settings, else as in ``_unstated``."""
    formats: dict[BackendName, str] = {"onnx": ONNX_FILE, "savedmodel": SAVED_MODEL_FILE}
    return stated or _unstated([backend for backend, file in formats.items() if files.has(file)], default)


def foreign_backend(path: Path, found: ForeignFiles, stated: BackendName | None, default: BackendName) -> BackendName:
    """The backend of a version without model.json: from its model's settings, else as in ``_unstated``.

    Raises:
        VersionRefused: its settings name a backend whose format it does not have.
    """
    files: dict[BackendName, str | None] = {"onnx": found.graph, "savedmodel": found.saved_model}
    able = [name for name, file in files.items() if file is not None]
    if stated is not None and stated not in able:
        raise VersionRefused(f"{path}: backend is {stated!r}, and the version has {found.in_words} alone")
    return stated or _unstated(able, default)


def _unstated(able: Sequence[BackendName], default: BackendName) -> BackendName:
    """The default, unless the version has only the format of another."""
    return able[0] if len(able) == 1 else default
