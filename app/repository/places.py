"""Where the models are: directories in the models directory, and single files NAME.onnx next to them."""

import logging
import os
from pathlib import Path
from typing import NamedTuple

log = logging.getLogger("atelier.repository")

GRAPH_SUFFIX = ".onnx"
# The version of a model that is a single file.
FILE_VERSION = 1


class Place(NamedTuple):
    """Where one model is.

    Attributes:
        name: of the model.
        directory: holds its versions, and serving.json; it does not exist if there is a ``file``.
        file: a graph that is the only version of the model; None if there are version directories.
    """

    name: str
    directory: Path
    file: Path | None = None


class Places:
    """Finds models on the disk. Every method reads the disk again, and blocks.

    Args:
        models_dir: holds <model>/<version>/ and <model>.onnx.
    """

    def __init__(self, models_dir: Path) -> None:
        self.models_dir = models_dir
        # Files that are hidden by a directory, and the log says so.
        self._told: set[str] = set()

    def all(self) -> list[Place]:
        """Directories, files and links to them that can have the name of a model, sorted by it."""
        try:
            with os.scandir(self.models_dir) as found:
                names = [each for each in found if not each.name.startswith(".") and each.name.isprintable()]
        except (FileNotFoundError, NotADirectoryError):
            return []
        # A name that cannot be printed can be no model's, and would break every list that it is part of.
        places = {each.name: Place(each.name, self.models_dir / each.name) for each in names if _is_directory(each)}
        for each in names:
            name = each.name.removesuffix(GRAPH_SUFFIX)
            if name not in {each.name, ""} and _is_file(each):
                if name in places:
                    self._tell(name)
                else:
                    places[name] = Place(name, self.models_dir / name, self.models_dir / each.name)
        return [places[name] for name in sorted(places)]

    def of(self, name: str) -> Place:
        """Where a model is, or would be."""
        directory, file = self.models_dir / name, self.models_dir / f"{name}{GRAPH_SUFFIX}"
        return Place(name, directory, file if file.is_file() and not directory.is_dir() else None)

    def _tell(self, name: str) -> None:
        if name not in self._told:
            self._told.add(name)
            log.warning("model %s: the directory %s counts, and the file %s%s does not", name, name, name, GRAPH_SUFFIX)


def _is_directory(entry: "os.DirEntry[str]") -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link into a directory that is not ours to read, or in a circle
        return False


def _is_file(entry: "os.DirEntry[str]") -> bool:
    try:
        return entry.is_file()
    except OSError:
        return False
