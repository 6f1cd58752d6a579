"""Notices that something below the models directory has changed, by the kernel's events or by looking again."""

import asyncio
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Literal

from watchfiles import Change, awatch

log = logging.getLogger("atelier.watch")

Mode = Literal["auto", "poll", "off"]

# Changes within so many milliseconds of each other count as one.
QUIET_MS = 400
POLL_MS = 2_000
# Looked at all the same: links to other places change without an event.
AT_LEAST_EVERY_MS = 30_000
# What other machines change on these sends no event to this one.
_REMOTE = {"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "ceph", "glusterfs", "lustre", "afs", "virtiofs", "vboxsf"}
_RESTART_AFTER_S = 5.0


async def changes(models_dir: Path, mode: Mode) -> AsyncIterator[None]:
    """Yields when something may have changed, until it is closed.

    Args:
        models_dir: a directory.
        mode: "poll" never relies on the kernel's events, "auto" does unless the file system is a remote one or the
            kernel has no events left to give; "off" yields nothing.
    """
    if mode == "off":
        return
    poll = mode == "poll" or is_remote(models_dir)
    if poll:
        log.info("%s is looked at every %g s for changes", models_dir, POLL_MS / 1e3)
    while True:
        try:
            async for _ in awatch(
                models_dir,
                watch_filter=lambda change, path: _counts(models_dir, change, path),
                debounce=QUIET_MS * 4,
                step=QUIET_MS,
                rust_timeout=AT_LEAST_EVERY_MS,
                yield_on_timeout=True,
                force_polling=poll,
                poll_delay_ms=POLL_MS,
                ignore_permission_denied=True,
            ):
                yield
        except (OSError, RuntimeError) as error:  # no such directory, no more watches: the library raises both
            log.warning("%s cannot be watched: %s; it is looked at every %g s", models_dir, error, _RESTART_AFTER_S)
            poll = True
        await asyncio.sleep(_RESTART_AFTER_S)
        yield


def is_remote(path: Path, mounts: Path = Path("/proc/self/mounts")) -> bool:
    """Whether a path lies on a file system that other machines may change."""
    try:
        lines = mounts.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return False
    place, kind = Path("/"), ""
    for line in lines:
        _, mounted, name, *_ = line.split(" ")
        point = Path(mounted.replace("\\040", " "))
        if path.resolve().is_relative_to(point) and len(point.parts) >= len(place.parts):
            place, kind = point, name
    return kind in _REMOTE or kind.startswith("fuse.")


def _counts(models_dir: Path, _: Change, path: str) -> bool:
    """Not what has a name with a dot in front: the temporary directories of publications."""
    try:
        parts = Path(path).relative_to(models_dir.resolve()).parts
    except ValueError:
        return True
    return not any(part.startswith(".") for part in parts)
