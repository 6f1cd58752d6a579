"""Paths of models: directories in the models directory, single files NAME.onnx next to them, and named paths."""

import logging
import os
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from app.repository.missing import no_model
from app.repository.tf_serving.named import NamedModels
from app.repository.told import Told
from app.repository.version_directories import version_directory

log = logging.getLogger("atelier.repository")

GRAPH_SUFFIX = ".onnx"
# Directories of file systems, storage systems, unpacking and Python: never models.
NOT_MODELS = frozenset(
    {
        "lost+found",
        "@eaDir",
        "#recycle",
        "#snapshot",
        "@Recycle",
        "$RECYCLE.BIN",
        "System Volume Information",
        "__MACOSX",
        "__pycache__",
    }
)
# The version of a model that is a single file.
FILE_VERSION = 1
_NOTHING: Mapping[str, Any] = MappingProxyType({})


class Place(NamedTuple):
    """The paths of one model.

    Attributes:
        name: of the model.
        directory: contains its versions, and serving.json; it does not exist if there is a ``file``.
        file: a graph that is the only version of the model; None if there are version directories.
        stated: keys of serving.json that are stated elsewhere; the file itself counts more.
        is_named: whether its name is stated together with its path, so that model.json may have another one.
    """

    name: str
    directory: Path
    file: Path | None = None
    stated: Mapping[str, Any] = _NOTHING
    is_named: bool = False

    def version_directory(self, version: int) -> Path:
        """The directory of a version; see ``version_directories``."""
        return version_directory(self.directory, version)


class Places:
    """Finds models on the disk. Every method reads the disk again, and blocks.

    Args:
        models_dir: contains <model>/<version>/ and <model>.onnx; None: only the named models are served.
        named: models elsewhere; they count more than those of the same name in the models directory.

    Attributes:
        told: what the log has said about them.
    """

    def __init__(self, models_dir: Path | None, named: NamedModels | None = None) -> None:
        self.models_dir = models_dir
        self._named = named or NamedModels()
        self.told = Told()

    @property
    def roots(self) -> list[Path]:
        """The directories in which models are added and removed; at least one."""
        file = self._named.file
        roots = [self.models_dir, None if file is None else file.parent]
        return [each for each in roots if each is not None] or [
            each.base_path for each in self._named.current().values()
        ]

    def all(self) -> list[Place]:
        """Directories, files and links to them that can have the name of a model, sorted by it."""
        places = self._in_models_dir()
        for name, model in self._named.current().items():
            if name in places:
                self.tell_of_hidden(name, str(model.base_path), str(places[name].file or places[name].directory))
            places[name] = Place(name, model.base_path, None, model.document, is_named=True)
        return [places[name] for name in sorted(places)]

    def of(self, name: str) -> Place:
        """The present or future place of a model.

        Raises:
            ModelNotFound: it would be nowhere.
        """
        if (model := self._named.current().get(name)) is not None:
            return Place(name, model.base_path, None, model.document, is_named=True)
        if self.models_dir is None:
            raise no_model(name, self._named.current())
        directory, file = self.models_dir / name, self.models_dir / f"{name}{GRAPH_SUFFIX}"
        return Place(name, directory, file if file.is_file() and not directory.is_dir() else None)

    def _in_models_dir(self) -> dict[str, Place]:
        if self.models_dir is None:
            return {}
        try:
            with os.scandir(self.models_dir) as found:
                names = [each for each in found if may_be_a_model(each.name)]
        except (FileNotFoundError, NotADirectoryError):
            return {}
        places = {each.name: Place(each.name, self.models_dir / each.name) for each in names if _is_directory(each)}
        for each in names:
            name = each.name.removesuffix(GRAPH_SUFFIX)
            if name not in {each.name, ""} and _is_file(each):
                if name in places:
                    self.tell_of_hidden(name, f"the directory {name}", f"the file {each.name}")
                else:
                    places[name] = Place(name, self.models_dir / name, self.models_dir / each.name)
        return places

    def tell_of_hidden(self, name: str, counts: str, hidden: str) -> None:
        """Log once that one path of a model takes precedence over another one."""
        if self.told.is_news((name, hidden)):
            log.warning("model %s: %s counts, and %s does not", name, counts, hidden)


def may_be_a_model(name: str) -> bool:
    """A name that cannot be printed is not a model's name, and would break every list that contains it."""
    return not name.startswith(".") and name.isprintable() and name not in NOT_MODELS


def _is_directory(entry: "os.DirEntry[str]") -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link into a directory that we may not read, or a circular one
        return False


def _is_file(entry: "os.DirEntry[str]") -> bool:
    try:
        return entry.is_file()
    except OSError:
        return False
