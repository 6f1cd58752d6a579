"""Models outside the models directory, each named with its path: by models.config, or by the command line."""

import logging
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from stat import S_ISDIR
from typing import Any

from app.contract.files.regular import shown
from app.contract.model_spec import NAME_RULE, is_model_name
from app.errors import VersionRefused

log = logging.getLogger("atelier.repository")


@dataclass(frozen=True)
class NamedModel:
    """A model and its place.

    Attributes:
        name: of the model.
        base_path: contains its versions, and serving.json.
        document: keys of serving.json that are stated with it.
    """

    name: str
    base_path: Path
    document: Mapping[str, Any] = field(default_factory=dict)


def named_model(where: str, name: str, base_path: str, document: Mapping[str, Any] | None = None) -> NamedModel:
    """A model of that name at that path.

    Args:
        where: for messages.
        name, base_path, document: see ``NamedModel``.

    Raises:
        VersionRefused: no model can have that name, or the path is not an absolute path of a directory.
    """
    if not is_model_name(name):
        raise VersionRefused(f"{where}: {NAME_RULE}")
    path = Path(base_path)
    if not path.is_absolute():
        raise VersionRefused(f"{where}: base_path {shown(base_path)!r} is not an absolute path of a directory")
    if not _is_directory(path):
        raise VersionRefused(f"{where}: base_path {shown(base_path)!r} does not exist, or is not a directory")
    return NamedModel(name, path, document or {})


class NamedModels:
    """The models that a file names, which is read again when it has changed; or fixed ones.

    Args:
        fixed: used without a file.
        file: None without one.
        read: reads the file; VersionRefused if it is not valid.

    Raises:
        VersionRefused: see ``read``.
    """

    def __init__(
        self,
        fixed: Mapping[str, NamedModel] | None = None,
        *,
        file: Path | None = None,
        read: Callable[[Path], Mapping[str, NamedModel]] | None = None,
    ) -> None:
        self.file = file
        self._read = read
        self._models = fixed or {}
        self._mark: Hashable = None
        if file is not None and read is not None:
            self._mark = _mark(file)
            self._models = read(file)

    def current(self) -> Mapping[str, NamedModel]:
        """Model name -> model. While the file is not valid, its last valid content stays in effect; this is logged."""
        if self.file is None or self._read is None or (mark := _mark(self.file)) == self._mark:
            return self._models
        self._mark = mark
        try:
            self._models = self._read(self.file)
            log.info("%s names %d models", self.file, len(self._models))
        except VersionRefused as error:
            log.error("%s; the last valid list of models stays in effect", error.message)
        return self._models


def _is_directory(path: Path) -> bool:
    """Whether it is one that this user can reach; no path with a NUL or a name that is too long is."""
    try:
        return S_ISDIR(path.stat().st_mode)
    except (OSError, ValueError):
        return False


def _mark(file: Path) -> Hashable:
    try:
        status = file.stat()
    except OSError as error:
        return error.errno
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino
