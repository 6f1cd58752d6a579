"""Finds a data set's files on disk or downloads its makers' archives, and checks their checksums.

Files are searched for in ``ATELIER_DATA_DIR`` (default ``~/.cache/atelier``) and in the data set's own subfolder of
it. Downloads go to the subfolder.
"""

import hashlib
import os
import tempfile
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from training.errors import DataDamaged, DataMissing

DATA_VARIABLE = "ATELIER_DATA_DIR"
TIMEOUT_S = 30
CHUNK_BYTES = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Archive:
    """A file as its makers publish it; their ``md5`` protects against damage, not against malice."""

    name: str
    url: str
    md5: str


def data_directory() -> Path:
    """Directory of the data sets: ``ATELIER_DATA_DIR``, or ``~/.cache/atelier``."""
    return Path(os.environ.get(DATA_VARIABLE) or Path.home() / ".cache" / "atelier")


def find(name: str, *, folder: str) -> Path | None:
    """The file ``name`` in the data directory or in ``folder`` below it; None if it is in neither."""
    root = data_directory()
    return next((path for path in (root / folder / name, root / name) if path.is_file()), None)


def obtain(archive: Archive, *, folder: str) -> Path:
    """Path of ``archive``, found or downloaded, with the makers' checksum.

    Raises:
        DataMissing: not on disk and not downloadable; names the file, the address and the variable.
        DataDamaged: on disk, or downloaded, with another checksum.
    """
    path = find(archive.name, folder=folder) or _download(archive, data_directory() / folder)
    if (digest := _digest(path, "md5")) != archive.md5:
        raise DataDamaged(
            f"{path} has md5 {digest}, but its makers published {archive.md5}; delete it to download it again"
        )
    return path


def checksums(*paths: Path) -> Mapping[str, str]:
    """File name -> sha256, to record what a run has read."""
    return {path.name: _digest(path, "sha256") for path in paths}


def _digest(path: Path, algorithm: str) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()


def _download(archive: Archive, directory: Path) -> Path:
    """Download to a temporary name next to the final one, then rename: the file is either complete or absent."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=directory, prefix=".download-") as temporary:
            partial = Path(temporary, archive.name)
            _copy(archive, partial)
            partial.rename(directory / archive.name)
    except (urllib.error.URLError, OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        raise DataMissing(
            f"{archive.name} is not in {data_directory()} and could not be downloaded from {archive.url} ({reason}); "
            f"put it there, set {DATA_VARIABLE} to the folder that holds it, or train on generated data with "
            "--dataset synthetic"
        ) from error
    return directory / archive.name


def _copy(archive: Archive, target: Path) -> None:
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("downloading {task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with urllib.request.urlopen(archive.url, timeout=TIMEOUT_S) as response, Progress(*columns) as progress:
        length = response.headers.get("Content-Length")
        task = progress.add_task(archive.name, total=int(length) if length else None)
        with target.open("wb") as file:
            while chunk := response.read(CHUNK_BYTES):
                file.write(chunk)
                progress.advance(task, len(chunk))
    if length and target.stat().st_size != int(length):
        raise OSError(f"the connection ended after {target.stat().st_size} of {length} bytes")
