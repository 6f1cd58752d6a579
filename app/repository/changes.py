"""Detects changes below the models directory, by the kernel's events or by polling."""

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, suppress
from pathlib import Path
from typing import Literal

from watchfiles import Change, awatch

from app.repository.places import Places
from app.repository.scan import directories

log = logging.getLogger("atelier.watch")

Mode = Literal["auto", "poll", "off"]

# Changes within this many milliseconds of each other count as one.
QUIET_MS = 400
POLL_MS = 2_000
# Polled nevertheless: links to other places change without an event.
AT_LEAST_EVERY_MS = 30_000
# Changes by other machines on these file systems send no event to this one.
_REMOTE = {"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "ceph", "glusterfs", "lustre", "afs", "virtiofs", "vboxsf"}
_RESTART_AFTER_S = 5.0


async def changes(places: Places, mode: Mode) -> AsyncIterator[None]:
    """Yields after a possible change, until it is closed.

    Args:
        places: where the models are.
        mode: "poll" never relies on the kernel's events, "auto" does unless the file system is a remote one or the
            kernel has no events left to give; "off" yields nothing.
    """
    if mode == "off":
        return
    models_dir = places.roots[0]
    poll = mode == "poll" or await asyncio.to_thread(is_remote, models_dir)
    if poll:
        log.info("%s is looked at every %g s for changes", models_dir, POLL_MS / 1e3)
    told = ""
    while True:
        try:
            watched = await asyncio.to_thread(_watched, places)
            async with aclosing(_events(models_dir, watched, poll=poll)) as events:
                async for _ in events:
                    yield
                    if await asyncio.to_thread(_watched, places) != watched:
                        break  # other directories than before: they are watched from now on
        # No such directory, no more watches, links in a circle when it polls: the library raises both, also in a group.
        except (OSError, RuntimeError, ExceptionGroup) as raised:
            error = _first(raised)
            if not isinstance(error, OSError | RuntimeError):
                raise
            if isinstance(error, FileNotFoundError) and await asyncio.to_thread(models_dir.is_dir):
                await asyncio.sleep(QUIET_MS / 1e3)  # one of the directories has gone since it was found
                continue
            if str(error) != told:
                told = str(error)
                log.warning("%s cannot be watched: %s; it is looked at every %g s", models_dir, told, _RESTART_AFTER_S)
            poll = True
            await asyncio.sleep(_RESTART_AFTER_S)
            yield


def _first(error: Exception) -> Exception:
    """The error itself; of a group, the first one."""
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    return error


def _watched(places: Places) -> list[str]:
    """Directories to watch; the models directory may be a link, which can lead elsewhere the next time."""
    found = []
    for each in directories(places):
        root = next((root for root in places.roots if each.is_relative_to(root)), each)
        found.append(str(root.resolve() / each.relative_to(root)))
    return found


async def _events(models_dir: Path, watched: list[str], *, poll: bool) -> AsyncGenerator[None]:
    """Yields once as soon as all of the directories are watched, and then when something in them changes.

    The library could watch all that is below the models directory by itself. It follows every link then, and a few
    links to directories that contain links have more paths than it can walk.
    """
    events = awatch(
        *watched,
        watch_filter=lambda change, path: _counts(models_dir, change, path),
        debounce=QUIET_MS * 4,
        step=QUIET_MS,
        rust_timeout=AT_LEAST_EVERY_MS,
        yield_on_timeout=True,
        force_polling=poll,
        poll_delay_ms=POLL_MS,
        recursive=False,
        ignore_permission_denied=True,
    )
    following = asyncio.ensure_future(anext(events))
    try:
        await asyncio.sleep(0)  # its first step starts to watch; earlier changes are checked now
        if not following.done():
            yield
        while True:
            await following
            yield
            following = asyncio.ensure_future(anext(events))
    finally:
        following.cancel()
        with suppress(asyncio.CancelledError, StopAsyncIteration, OSError, RuntimeError):
            await following
        await events.aclose()


def is_remote(path: Path, mounts: Path = Path("/proc/self/mounts")) -> bool:
    """Whether a path is on a file system that other machines may change."""
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
    """Leaves out names that start with a dot: the temporary directories of publications."""
    try:
        parts = Path(path).relative_to(models_dir.resolve()).parts
    except ValueError:
        return True
    return not any(part.startswith(".") for part in parts)
