"""Private directories: readable only by their owner, deleted after use, and cleaned up after a killed process.

The process that creates a directory holds a lock on it, which the operating system releases when the process ends in
any way. So a later process can distinguish leftovers from directories in use.
"""

import errno
import fcntl
import hashlib
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from app.contract.files.regular import Opener, chunks, opened
from app.errors import VersionRefused

PREFIX = ".atelier-load-"

# Linux, fs.h: _IOW(0x94, 9, int). The copy shares its blocks with the file until one of them changes.
_FICLONE = 0x40049409
_NO_REFLINK = {errno.EOPNOTSUPP, errno.ENOTTY, errno.EXDEV, errno.EINVAL, errno.EPERM, errno.ENOSYS, errno.ETXTBSY}


@contextmanager
def private_directory(place: Path, prefix: str = PREFIX) -> Iterator[Path]:
    """A new directory in ``place``, mode 0700; it is deleted with its content at the end.

    Args:
        place: created if missing.
        prefix: prefix of the directory's name.

    Raises:
        OSError: it cannot be created.
    """
    path, lock = _locked_directory(place, prefix)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
        os.close(lock)


def sweep(place: Path, prefix: str = PREFIX) -> None:
    """Remove the private directories of processes that have ended without doing so."""
    with suppress(OSError):  # missing, or cannot be listed: nothing to remove
        for leaving in place.glob(f"{prefix}*"):
            with suppress(OSError):  # belongs to another user, or is already gone
                _remove_if_dead(leaving)


def copy_verified(source: Path, target: Path, *, size: int, sha256: str, opener: Opener) -> None:
    """Copy a file, by reference where the file system can do so, and check the copy. Memory: one buffer.

    Args:
        source: may change at any moment.
        target: in a private directory; complete and verified when this returns.
        size, sha256: expected size and hash of the copy.
        opener: opens ``source``.

    Raises:
        VersionRefused: size or hash differs.
        OSError: reading or writing failed.
    """
    with opened(source, opener) as origin:
        copy = os.open(target, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            if _reflinked(origin, copy):
                found = hash_of(source, copy, size=size)
            else:
                found = hash_of(source, origin, size=size, copy_to=copy)
        finally:
            os.close(copy)
    check_hash(source, found, sha256)


def hash_of(path: Path, descriptor: int, *, size: int, copy_to: int | None = None) -> str:
    """The sha256 of the content of a descriptor, in hexadecimal; on request, copies the same bytes.

    Raises:
        VersionRefused: the size differs from ``size``.
    """
    check_size(path, os.fstat(descriptor).st_size, size)
    digest, found = hashlib.sha256(), 0
    for data in chunks(descriptor, size + 1):
        digest.update(data)
        found += len(data)
        if copy_to is not None:
            _write_all(copy_to, data)
    check_size(path, found, size)
    return digest.hexdigest()


def check_size(path: Path, size: int, stated: int) -> None:
    """Refuse a file whose size differs from the manifest."""
    if size != stated:
        raise VersionRefused(f"{path}: {size} bytes, the manifest says {stated}")


def check_hash(path: Path, sha256: str, stated: str) -> None:
    """Refuse a file whose hash differs from the manifest."""
    if sha256 != stated:
        raise VersionRefused(f"{path}: sha256 {sha256[:12]}..., the manifest says {stated[:12]}...")


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _reflinked(origin: int, copy: int) -> bool:
    try:
        fcntl.ioctl(copy, _FICLONE, origin)
    except OSError as error:
        if error.errno in _NO_REFLINK:
            return False
        raise
    return True


def _locked_directory(place: Path, prefix: str) -> tuple[Path, int]:
    """Create and lock a directory; retry if another process removed it as a leftover before the lock was taken."""
    while True:
        path = place / f"{prefix}{secrets.token_hex(8)}"
        path.mkdir(mode=0o700, parents=True)
        try:
            lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except FileNotFoundError:
            continue
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if os.path.samestat(os.fstat(lock), path.stat()):
                return path, lock
        except FileNotFoundError:
            pass
        except BaseException:
            shutil.rmtree(path, ignore_errors=True)
            os.close(lock)
            raise
        os.close(lock)


def _remove_if_dead(leaving: Path) -> None:
    """Delete a directory of ours unless a living process holds its lock."""
    lock = os.open(leaving, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        if os.fstat(lock).st_uid == os.geteuid():
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(leaving, ignore_errors=True)
    finally:
        os.close(lock)
