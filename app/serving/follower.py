"""Follows the models directory: what is published there serves without being asked for."""

import asyncio
import logging
from collections.abc import AsyncIterator, Hashable, Mapping

from app.serving.lifecycle import Lifecycle

log = logging.getLogger("atelier.follower")


class Follower:
    """Tells the lifecycle which models have changed.

    Args:
        lifecycle: brings the registry in line with its repository.
    """

    def __init__(self, lifecycle: Lifecycle) -> None:
        self._lifecycle = lifecycle
        self._repository = lifecycle.repository
        self._seen: Mapping[str, Hashable] = {}
        self._again: dict[str, asyncio.Task[None]] = {}

    async def remember(self) -> None:
        """What lies there now is known; to be called before it is loaded, so that no change slips through."""
        self._seen = await asyncio.to_thread(self._repository.snapshot)

    async def run(self, changes: AsyncIterator[None]) -> None:
        """Look at the directory each time that ``changes`` yields."""
        try:
            async for _ in changes:
                try:
                    await self._look()
                except Exception:
                    log.exception("what has changed in the models directory could not be followed")
        finally:
            for task in self._again.values():
                task.cancel()

    async def _look(self) -> None:
        now = await asyncio.to_thread(self._repository.snapshot)
        changed = [name for name in sorted({*now, *self._seen}) if now.get(name) != self._seen.get(name)]
        self._seen = now
        if changed:
            found = await asyncio.to_thread(self._repository.scan)
            await asyncio.gather(*(self._follow(name, found.get(name, [])) for name in changed))

    async def _follow(self, name: str, versions: list[int]) -> None:
        if (task := self._again.pop(name, None)) is not None:
            task.cancel()
        wait_s = await self._lifecycle.follow(name, versions)
        if wait_s is not None:
            self._again[name] = asyncio.create_task(self._follow_later(name, wait_s))

    async def _follow_later(self, name: str, wait_s: float) -> None:
        await asyncio.sleep(wait_s)
        del self._again[name]
        found = await asyncio.to_thread(self._repository.scan)
        await self._follow(name, found.get(name, []))
