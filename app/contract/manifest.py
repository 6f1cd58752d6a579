"""manifest.json: sha256 and size of every file of a version, written last.

A directory without a valid manifest does not exist for the service: it is still being copied, or was damaged.
"""

import hashlib
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from app.errors import VersionRefused

MANIFEST_FILE = "manifest.json"


class FileEntry(BaseModel):
    """Size in bytes and lower-case hexadecimal sha256 of one file."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    size: int
    sha256: str


class Manifest(BaseModel):
    """Relative POSIX path -> entry, for every file of the version except the manifest itself."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    files: dict[str, FileEntry]


def write_manifest(directory: Path) -> None:
    """Hash every file below ``directory`` and write manifest.json beside them."""
    files = {
        path.relative_to(directory).as_posix(): FileEntry(size=path.stat().st_size, sha256=_sha256(path))
        for path in sorted(directory.rglob("*"))
        if path.is_file() and path.name != MANIFEST_FILE
    }
    text = Manifest(files=files).model_dump_json(indent=2) + "\n"
    (directory / MANIFEST_FILE).write_text(text, encoding="utf-8")


def verify_manifest(directory: Path) -> None:
    """Check that ``directory`` holds exactly the files that its manifest lists, byte for byte.

    Raises:
        VersionRefused: names the first file that is missing, not listed, or has another size or hash.
    """
    path = directory / MANIFEST_FILE
    try:
        manifest = Manifest.model_validate_json(path.read_bytes())
    except OSError as error:
        raise VersionRefused(f"{path}: {error.strerror}") from error
    except ValidationError as error:
        raise VersionRefused(f"{path}: {error.errors()[0]['msg']}") from error
    try:
        present = {file.relative_to(directory).as_posix() for file in directory.rglob("*") if file.is_file()}
        present.discard(MANIFEST_FILE)
        if missing := manifest.files.keys() - present:
            raise VersionRefused(f"{directory}: {min(missing)} is in the manifest and not on disk")
        if extra := present - manifest.files.keys():
            raise VersionRefused(f"{directory}: {min(extra)} is on disk and not in the manifest")
        for name, entry in manifest.files.items():
            _check(directory / name, entry)
    except OSError as error:
        raise VersionRefused(f"{directory}: {error}") from error


def _check(path: Path, entry: FileEntry) -> None:
    size = path.stat().st_size
    if size != entry.size:
        raise VersionRefused(f"{path}: {size} bytes, the manifest says {entry.size}")
    digest = _sha256(path)
    if digest != entry.sha256:
        raise VersionRefused(f"{path}: sha256 {digest[:12]}..., the manifest says {entry.sha256[:12]}...")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
