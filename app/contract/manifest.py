"""manifest.json: sha256 and size of every file of a version, written last.

The service ignores a directory without a valid manifest: it is still being copied, or it was damaged.
"""

import hashlib
from pathlib import Path, PurePosixPath
from stat import S_ISREG
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from app.contract.files.private import check_hash, hash_of
from app.contract.files.regular import Opener, open_regular, opened, read_file, shown
from app.contract.files.tree import VERSION_ENTRIES, walk
from app.errors import VersionRefused

MANIFEST_FILE = "manifest.json"
MANIFEST_LIMIT_BYTES = 4 * 2**20
# Size of all files of one version together: every load hashes them.
VERSION_LIMIT_BYTES = 64 * 2**30


class FileEntry(BaseModel):
    """Size in bytes and lower-case hexadecimal sha256 of one file."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    size: int = Field(ge=0, le=VERSION_LIMIT_BYTES)
    sha256: str = Field(pattern="^[0-9a-f]{64}$")


class Manifest(BaseModel):
    """Relative POSIX path -> entry, for every file of the version except the manifest itself."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    files: Annotated[dict[str, FileEntry], Field(max_length=VERSION_ENTRIES)]

    @model_validator(mode="after")
    def _all_inside(self) -> Self:
        for name in self.files:
            if not is_inside(name):
                raise ValueError(f"{shown(name)!r} is not the path of a file inside the version")
        total = sum(entry.size for entry in self.files.values())
        if total > VERSION_LIMIT_BYTES:
            raise ValueError(f"its files have {total} bytes; a version may have {VERSION_LIMIT_BYTES}")
        return self


def is_inside(name: str) -> bool:
    """Whether a path, in the form that manifests use, leads to a file below its base directory.

    None with a NUL does: the system cannot open it, and Python raises a ValueError in place of an OSError.
    """
    parts = PurePosixPath(name).parts
    return (
        "\0" not in name and bool(parts) and "/".join(parts) == name and ".." not in parts and not name.startswith("/")
    )


def write_manifest(directory: Path) -> None:
    """Hash every file below ``directory`` and write manifest.json next to them."""
    files = {
        path.relative_to(directory).as_posix(): FileEntry(size=path.stat().st_size, sha256=_sha256(path))
        for path in sorted(directory.rglob("*"))
        if path.is_file() and path.name != MANIFEST_FILE
    }
    text = Manifest(files=files).model_dump_json(indent=2) + "\n"
    (directory / MANIFEST_FILE).write_text(text, encoding="utf-8")


def read_manifest(directory: Path, opener: Opener = open_regular) -> Manifest:
    """Read manifest.json of a version.

    Raises:
        VersionRefused: it is missing, or breaks a rule above.
    """
    path = directory / MANIFEST_FILE
    try:
        return Manifest.model_validate_json(read_file(path, MANIFEST_LIMIT_BYTES, opener=opener))
    except OSError as error:
        raise VersionRefused(f"{path}: {error.strerror}") from error
    except ValidationError as error:
        raise VersionRefused(f"{path}: {error.errors()[0]['msg']}") from error


def check_listing(directory: Path, manifest: Manifest) -> None:
    """Check that ``directory`` contains exactly the files in its manifest, without reading them.

    Raises:
        VersionRefused: names the first file that is missing, not listed or not a regular file; or there are too many.
        OSError: the directory cannot be listed.
    """
    present = {entry.name: entry.status for entry in walk(directory) if not entry.is_directory}
    present.pop(MANIFEST_FILE, None)
    if missing := manifest.files.keys() - present.keys():
        raise VersionRefused(f"{directory}: {shown(min(missing))} is in the manifest but not on disk")
    # Links to directories and similar entries are never read, so they do no harm.
    files = {name for name, status in present.items() if S_ISREG(status.st_mode)}
    if extra := files - manifest.files.keys():
        raise VersionRefused(f"{directory}: {shown(min(extra))} is on disk but not in the manifest")


def verify_manifest(directory: Path) -> None:
    """Check that ``directory`` contains exactly the files in its manifest, byte for byte.

    Raises:
        VersionRefused: names the first file that is missing, not listed, or has a different size or hash.
    """
    manifest = read_manifest(directory)
    try:
        check_listing(directory, manifest)
        for name, entry in manifest.files.items():
            verify_file(directory / name, entry)
    except OSError as error:
        raise VersionRefused(f"{directory}: {error}") from error


def verify_file(path: Path, entry: FileEntry, opener: Opener = open_regular) -> None:
    """Check a file against its entry, with one buffer of memory.

    Raises:
        VersionRefused: size or hash differs.
        OSError: it cannot be read.
    """
    with opened(path, opener) as descriptor:
        check_hash(path, hash_of(path, descriptor, size=entry.size), entry.sha256)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
