"""Models that load with their next request: from the start, if configured so, and after their memory was needed."""

import asyncio
import logging
from collections.abc import Iterable, Mapping
from contextlib import suppress

from app.errors import Draining, NoRoom, VersionRefused
from app.lifecycle.aspired_versions import AspiredVersions
from app.lifecycle.memory_limit import MemoryLimit
from app.lifecycle.version_loads import RETIRE_TIMEOUT_S, VersionLoads
from app.lifecycle.versions import State

log = logging.getLogger("atelier.lifecycle")

_WHY = "not loaded; the next request loads it"


class Sleeping:
    """Puts models to sleep, and loads them again.

    Args:
        loads: loads and retires single versions; gets the memory limit.
        aspired: loads the versions that serving.json specifies.
        locks: of each model.
        memory_limit_bytes: most memory of all versions, see ``MemoryLimit``; None: no limit.
    """

    def __init__(
        self,
        loads: VersionLoads,
        aspired: AspiredVersions,
        locks: Mapping[str, asyncio.Lock],
        *,
        memory_limit_bytes: int | None,
    ) -> None:
        self._loads = loads
        self._aspired = aspired
        self._locks = locks
        self._registry = loads.registry
        self._registry.asleep.loaded_by(self._wake)
        if memory_limit_bytes is not None:
            loads.memory = MemoryLimit(
                self._registry, memory_limit_bytes, may_sleep=self._may_sleep, sleep=self._put_to_sleep
            )

    @property
    def memory_is_used_up(self) -> bool:
        """Whether a model had to go to sleep so that another one could load."""
        return self._loads.memory is not None and self._loads.memory.was_reached

    def begin_asleep(self, name: str, versions: Iterable[int], why: str = _WHY) -> None:
        """Let a model without loaded versions load with its next request. The caller must hold its lock."""
        for version in versions:
            record = self._registry.enter(name, version)
            if not record.refused:
                self._registry.set(name, record, State.UNAVAILABLE, why)
        self._registry.asleep.names.add(name)

    async def load(self, name: str, versions: list[int]) -> None:
        """Load a model without a command that names it: errors are in the log and in the states.

        It sleeps if there is no room for it. The caller must hold its lock.
        """
        with suppress(VersionRefused, Draining):
            try:
                await self._aspired.apply(name, versions, retry=True)
            except NoRoom as error:
                log.warning("%s", error.message)
                if self._registry.live(name) is None:
                    self.begin_asleep(name, versions, error.message)
                return
        self._registry.asleep.names.discard(name)

    async def _wake(self, name: str) -> None:
        async with self._locks[name]:
            if name not in self._registry.asleep.names or self._registry.draining:
                return
            versions = (await asyncio.to_thread(self._loads.repository.scan)).get(name, [])
            if versions:
                await self.load(name, versions)
            else:
                self._loads.forget_gone(name, versions)

    def _may_sleep(self, name: str) -> bool:
        """False while it is changed, and while a canary is compared, whose figures would be lost."""
        return not self._locks[name].locked() and self._registry.rollout(name) is None

    async def _put_to_sleep(self, name: str) -> None:
        async with self._locks[name]:
            self._registry.asleep.names.add(name)
            self._registry.serve(name, None)
            records = self._registry.records(name)
            await asyncio.gather(*(self._loads.retire(name, each, _WHY, RETIRE_TIMEOUT_S) for each in records))
