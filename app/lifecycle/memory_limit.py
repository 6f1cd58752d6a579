"""Most memory of all loaded versions: above it, the least recently used models go to sleep."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from app.errors import NoRoom, VersionRefused
from app.lifecycle.registry import Registry
from app.loaded import LoadedModel

log = logging.getLogger("atelier.lifecycle")

MIB = 2**20


class MemoryLimit:
    """Keeps the memory of loaded versions below a limit; a loading version is not counted until it is ready.

    Args:
        registry: knows what is loaded.
        limit_bytes: of ``LoadedModel.memory_bytes`` of all versions together.
        may_sleep: whether a model may go to sleep now.
        sleep: puts it to sleep, once the requests that use it have finished.

    Attributes:
        was_reached: a model had to go to sleep.
    """

    def __init__(
        self,
        registry: Registry,
        limit_bytes: int,
        *,
        may_sleep: Callable[[str], bool],
        sleep: Callable[[str], Awaitable[None]],
    ) -> None:
        self._registry = registry
        self._limit_bytes = limit_bytes
        self._may_sleep = may_sleep
        self._sleep = sleep
        self._making_room = asyncio.Lock()
        self._known: dict[tuple[str, int], int] = {}
        self.was_reached = False

    async def before_load(self, name: str, version: int) -> None:
        """Make room for a version that was loaded before; the memory of other versions is not known yet.

        Raises:
            NoRoom, VersionRefused: see ``after_load``.
        """
        await self._make_room(name, version, self._known.get((name, version), 0))

    async def after_load(self, model: LoadedModel) -> None:
        """Make room for a version that is ready, and not in the registry yet.

        Raises:
            VersionRefused: it takes more than the limit alone.
            NoRoom: it does not fit next to models that cannot go to sleep now.
        """
        self._known[model.name, model.version] = model.memory_bytes
        await self._make_room(model.name, model.version, model.memory_bytes)

    def _fits(self, more_bytes: int) -> bool:
        return sum(model.memory_bytes for model in self._registry.loaded()) + more_bytes <= self._limit_bytes

    async def _make_room(self, name: str, version: int, need_bytes: int) -> None:
        need, limit = _in_mib(need_bytes), _in_mib(self._limit_bytes)
        if need_bytes > self._limit_bytes:
            raise VersionRefused(f"takes about {need} MiB; --model-memory-limit-mb allows {limit} MiB for all models")
        async with self._making_room:
            while not self._fits(need_bytes):
                victim = self._least_recently_used(besides=name)
                if victim is None:
                    raise NoRoom(
                        f"model {name!r} version {version} takes about {need} MiB, and no other model can be unloaded "
                        f"now to stay below {limit} MiB (--model-memory-limit-mb); try again"
                    )
                self.was_reached = True
                log.info("model %s is unloaded: model %s needs about %d MiB", victim, name, need)
                await self._sleep(victim)

    def _least_recently_used(self, besides: str) -> str | None:
        """The model without requests that was not used for longest; else the first of the others; None: no models."""
        used: dict[str, tuple[bool, float]] = {}
        for model in self._registry.loaded():
            if model.name != besides and self._may_sleep(model.name):
                last = max((each.leases.in_use, each.leases.used_at) for each in model.with_signatures)
                used[model.name] = max(last, used.get(model.name, last))
        return min(used, key=used.__getitem__) if used else None


def _in_mib(size: int) -> int:
    return -(-size // MIB)
