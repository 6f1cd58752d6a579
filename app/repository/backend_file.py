"""backend.json: a version that a backend of an installed package runs."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from app.contract.files.regular import read_file
from app.errors import VersionRefused

BACKEND_FILE = "backend.json"
LIMIT_BYTES = 4_096


class _BackendFile(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    backend: str = Field(min_length=1, max_length=100, pattern=r"^[A-Za-z0-9._-]+$")


def read_backend_file(directory: Path) -> str:
    """The name of the backend of a version.

    Args:
        directory: of the version, which has the file.

    Raises:
        VersionRefused: the file is too large, or not what it must be.
    """
    path = directory / BACKEND_FILE
    try:
        return _BackendFile.model_validate_json(read_file(path, LIMIT_BYTES)).backend
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the document"
        raise VersionRefused(f'{path}: {where}: {first["msg"]}; write {{"backend": "NAME"}}') from error
