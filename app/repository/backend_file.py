"""backend.json: a version that an installed package runs, or whose graph has a step of such a package around it."""

from pathlib import Path
from typing import Annotated, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from app.contract.files.regular import read_file
from app.errors import VersionRefused

BACKEND_FILE = "backend.json"
LIMIT_BYTES = 4_096
_HOW = 'write {"backend": "NAME"} or {"transform": "NAME"}'

PluginKind = Literal["backend", "transform"]
_Name = Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[A-Za-z0-9._-]+$")]


class Plugin(NamedTuple):
    """What runs a version.

    Attributes:
        kind: a backend runs the whole version, a transform is a step before or after its graph.
        name: of the entry point.
    """

    kind: PluginKind
    name: str


class _BackendFile(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    backend: _Name | None = None
    transform: _Name | None = None


def read_backend_file(directory: Path) -> Plugin:
    """The backend or the transform that a version names.

    Args:
        directory: of the version, which has the file.

    Raises:
        VersionRefused: the file cannot be read, is too large, or is not what it must be.
    """
    path = directory / BACKEND_FILE
    try:
        found = _BackendFile.model_validate_json(read_file(path, LIMIT_BYTES))
    except OSError as error:  # such as a link to nowhere
        raise VersionRefused(f"{path}: {error.strerror}") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the document"
        raise VersionRefused(f"{path}: {where}: {first['msg']}; {_HOW}") from error
    if (found.backend is None) == (found.transform is None):
        has = "neither 'backend' nor" if found.backend is None else "both 'backend' and"
        raise VersionRefused(f"{path}: it has {has} 'transform'; {_HOW}")
    return Plugin("backend", found.backend) if found.backend is not None else Plugin("transform", found.transform or "")
