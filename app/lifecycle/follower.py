"""Follows the models directory: a published version serves without a command."""

import asyncio
import logging
from collections.abc import AsyncIterator, Hashable, Mapping

from app.lifecycle.lifecycle import Lifecycle
from app.repository.scan import Unreadable

log = logging.getLogger("atelier.follower")


class Follower:
    """Notifies the lifecycle of changed models; each model is followed independently of failures of the others.

    Args:
        lifecycle: brings the registry in line with its repository.
    """

    def __init__(self, lifecycle: Lifecycle) -> None:
        self._lifecycle = lifecycle
        self._repository = lifecycle.repository
        self._seen: Mapping[str, Hashable] = {}
        self._following: dict[str, asyncio.Task[None]] = {}
        # Changed again while they are being followed.
        self._changed: set[str] = set()
        self._again: dict[str, asyncio.Task[None]] = {}

    async def remember(self) -> None:
        """Note the present state; to be called before it is loaded, so that no change is missed."""
        self._seen = await asyncio.to_thread(self._repository.snapshot)
        for name, mark in self._seen.items():
            _tell(name, mark)

    async def run(self, changes: AsyncIterator[None]) -> None:
        """Scan the directory each time that ``changes`` yields."""
        try:
            async for _ in changes:
                try:
                    await self._look()
                except Exception:
                    log.exception("what has changed in the models directory could not be followed")
        except Exception:
            log.exception("what changes in the models directory is not noticed any more")
        finally:
            for task in (*self._again.values(), *self._following.values()):
                task.cancel()

    async def _look(self) -> None:
        now = await asyncio.to_thread(self._repository.snapshot)
        changed = [name for name in sorted({*now, *self._seen}) if now.get(name) != self._seen.get(name)]
        self._seen = now
        for name in changed:
            _tell(name, now.get(name))
            self._start(name)

    def _start(self, name: str) -> None:
        """Follow a model now, or again when a follow in progress has ended."""
        if (task := self._again.pop(name, None)) is not None:
            task.cancel()
        if name in self._following:
            self._changed.add(name)
        else:
            self._following[name] = asyncio.create_task(self._follow(name))

    async def _follow(self, name: str) -> None:
        wait_s = None
        try:
            while True:
                self._changed.discard(name)
                wait_s = await self._follow_once(name)
                if name not in self._changed:
                    break
        finally:
            del self._following[name]
        if wait_s is not None:
            self._again[name] = asyncio.create_task(self._follow_later(name, wait_s))

    async def _follow_once(self, name: str) -> float | None:
        try:
            return await self._lifecycle.follow(name)
        except Exception:
            log.exception("model %s: what has changed could not be followed", name)
            return None

    async def _follow_later(self, name: str, wait_s: float) -> None:
        await asyncio.sleep(wait_s)
        del self._again[name]
        self._start(name)


def _tell(name: str, mark: Hashable) -> None:
    if isinstance(mark, Unreadable):
        log.error("model %s: changes are not noticed: %s", name, mark.reason)
