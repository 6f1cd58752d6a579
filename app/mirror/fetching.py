"""Copies a version, file by file, into a directory that becomes the version once every byte is the manifest's."""

import hashlib
import os
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path

from pydantic import ValidationError

from app.contract.files.private import check_hash, check_size
from app.contract.files.regular import shown
from app.contract.manifest import MANIFEST_FILE, MANIFEST_LIMIT_BYTES, FileEntry, Manifest, verify_file
from app.errors import VersionRefused
from app.mirror.remote import Listed, Remote

# Names with a dot: neither scanned nor watched. What is in a partial one is used again, so that a copy goes on where it
# ended.
PARTIAL = ".{}.partial"
REMOVED = ".{}.removed"


def read_small(remote: Remote, name: str, limit_bytes: int) -> bytes:
    """A file as a whole.

    Raises:
        VersionRefused: it is larger.
        Unreachable: it cannot be read.
    """
    data = b"".join(remote.chunks(name, limit_bytes + 1))
    if len(data) > limit_bytes:
        raise VersionRefused(f"{shown(name)} has more than {limit_bytes} bytes")
    return data


def fetch(remote: Remote, name: str, listed: Mapping[str, Listed], directory: Path) -> int:
    """Copy a version; ``directory`` appears with all of its files, or not at all.

    Args:
        remote: contains it.
        name: its path at the URL, MODEL/VERSION.
        listed: its files there.
        directory: of the copy; an earlier one is replaced.

    Returns:
        Bytes that were read.

    Raises:
        VersionRefused: it is not complete yet, or a file differs from the manifest.
        Unreachable: it cannot be read.
        OSError: it cannot be written.
    """
    text = read_small(remote, f"{name}/{MANIFEST_FILE}", MANIFEST_LIMIT_BYTES)
    try:
        manifest = Manifest.model_validate_json(text)
    except ValidationError as error:
        mistake = error.errors()[0]
        where = ".".join(map(str, mistake["loc"]))
        raise VersionRefused(f"{MANIFEST_FILE} is not valid: {shown(where)}: {mistake['msg']}") from error
    _check_complete(manifest, listed)
    partial = directory.with_name(PARTIAL.format(directory.name))
    partial.mkdir(parents=True, exist_ok=True)
    _remove_others(partial, manifest)
    count = len(text)
    for path, entry in manifest.files.items():
        if not _is_there(partial / path, entry):
            _fetch_file(remote, f"{name}/{path}", entry, partial / path)
            count += entry.size
    _write(partial / MANIFEST_FILE, [text])
    replace_directory(partial, directory)
    return count


def replace_directory(new: Path, directory: Path) -> None:
    """Give a directory its name; the one that has it is removed."""
    leaving = directory.with_name(REMOVED.format(directory.name))
    shutil.rmtree(leaving, ignore_errors=True)
    if directory.exists():
        directory.rename(leaving)
    new.rename(directory)
    _sync(directory.parent)
    shutil.rmtree(leaving, ignore_errors=True)


def remove(directory: Path) -> None:
    """Remove a version: it is gone at once, its files a moment later."""
    leaving = directory.with_name(REMOVED.format(directory.name))
    shutil.rmtree(leaving, ignore_errors=True)
    directory.rename(leaving)
    shutil.rmtree(leaving, ignore_errors=True)


def _check_complete(manifest: Manifest, listed: Mapping[str, Listed]) -> None:
    for path, entry in manifest.files.items():
        if (there := listed.get(path)) is None:
            raise VersionRefused(f"{shown(path)} is in the manifest but not there yet")
        if there.size is not None:
            check_size(Path(path), there.size, entry.size)


def _remove_others(partial: Path, manifest: Manifest) -> None:
    """Files of an earlier copy that the manifest does not list."""
    for path in sorted(partial.rglob("*"), reverse=True):
        if path.is_dir() and not path.is_symlink():
            if not any(path.iterdir()):
                path.rmdir()
        elif path.relative_to(partial).as_posix() not in manifest.files:
            path.unlink()


def _is_there(path: Path, entry: FileEntry) -> bool:
    try:
        verify_file(path, entry)
    except (OSError, VersionRefused):
        return False
    return True


def _fetch_file(remote: Remote, name: str, entry: FileEntry, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    try:
        digest, size = _write(path, remote.chunks(name, entry.size + 1))
        check_size(Path(name), size, entry.size)
        check_hash(Path(name), digest, entry.sha256)
    except BaseException:
        path.unlink(missing_ok=True)  # also where the disk is full, so that other versions find room
        raise


def _write(path: Path, chunks: Iterable[bytes]) -> tuple[str, int]:
    digest, size = hashlib.sha256(), 0
    with path.open("wb") as file:
        for data in chunks:
            digest.update(data)
            size += len(data)
            file.write(data)
        file.flush()
        os.fsync(file.fileno())
    return digest.hexdigest(), size


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
