"""Models that load with their next request: from the start, if configured so, and after their memory was needed."""

import asyncio
import logging
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress

from app.errors import Draining, ModelNotFound, NoRoom, VersionRefused
from app.lifecycle.aspired_versions import AspiredVersions
from app.lifecycle.memory_limit import MemoryLimit
from app.lifecycle.model_lock import ModelLock
from app.lifecycle.plan import expected
from app.lifecycle.version_loads import RETIRE_TIMEOUT_S, VersionLoads
from app.lifecycle.versions import State, VersionRecord
from app.loaded import LoadedModel

log = logging.getLogger("atelier.lifecycle")

_WHY = "not loaded; the next inference request loads it"


class Sleeping:
    """Puts models to sleep, and loads them again; the ``Memory`` of the limit.

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
        locks: Mapping[str, ModelLock],
        *,
        memory_limit_bytes: int | None,
    ) -> None:
        self._loads = loads
        self._aspired = aspired
        self._locks = locks
        self._registry = loads.registry
        self._asleep = loads.registry.asleep
        self._asleep.loaded_by(self._wake)
        if memory_limit_bytes is not None:
            loads.memory = MemoryLimit(self, memory_limit_bytes)

    @property
    def memory_is_used_up(self) -> bool:
        """Whether a model had to go to sleep so that another one could load."""
        return self._loads.memory is not None and self._loads.memory.was_reached

    async def begin(self, name: str, versions: Sequence[int], why: str = _WHY) -> None:
        """Let a model load with its next request. The caller must hold its lock."""
        default = self._registry.default(name)
        if default is not None or name not in self._asleep.names:
            self._asleep.names[name] = default.version if default is not None else None
        self._registry.set_default(name, None)
        self._registry.roll_out(name, None)
        loaded = set(self._registry.models(name))
        await asyncio.gather(*(self._loads.retire(name, each, why, RETIRE_TIMEOUT_S) for each in self._known(name)))
        self._let_sleep(name, await self._expected(name, versions) if versions else loaded, why)

    def _known(self, name: str) -> list[VersionRecord]:
        return self._registry.records(name) if name in self._registry.names() else []

    async def _expected(self, name: str, versions: Sequence[int]) -> set[int]:
        """The versions that the next request loads; without a valid serving.json all, to report what is wrong."""
        refused = {record.version for record in self._known(name) if record.refused}
        try:
            policy = await asyncio.to_thread(self._loads.repository.policy, name)
        except (VersionRefused, OSError):
            return set(versions) - refused
        return expected(policy, versions, refused)

    def _let_sleep(self, name: str, versions: Collection[int], why: str) -> None:
        for record in self._known(name):
            if record.sleeps and record.version not in versions:
                record.reason = "not loaded: version_policy asks for other versions"
            record.sleeps = False
        for version in versions:
            record = self._registry.enter(name, version)
            record.sleeps = True
            self._registry.set(name, record, State.UNAVAILABLE, why)

    async def apply(self, name: str, versions: list[int], *, retry: bool) -> VersionRecord | None:
        """As ``AspiredVersions.apply``; a model sleeps if there is no room for it. The caller must hold its lock.

        Raises:
            VersionRefused: see ``AspiredVersions.apply``; the model does not sleep any more.
            NoRoom: for the model, which sleeps now, or for one version of it.
        """
        try:
            refused = await self._aspired.apply(name, versions, retry=retry)
        except NoRoom as error:
            if self._registry.default(name) is None:
                await self.begin(name, versions, error.message)
            else:
                self._asleep.remove(name)
            raise
        except VersionRefused:
            self._asleep.remove(name)
            raise
        self._asleep.remove(name)
        return refused

    async def load(self, name: str, versions: list[int]) -> None:
        """As ``apply``, without a command that names the model: errors are in the log and in the states."""
        with suppress(VersionRefused, Draining):
            try:
                await self.apply(name, versions, retry=True)
            except NoRoom as error:
                log.warning("%s", error.message)

    async def _wake(self, name: str) -> bool:
        async with self._locks[name]:
            if name not in self._asleep.names:
                return True
            if self._registry.draining:
                return False
            try:
                versions = await asyncio.to_thread(self._loads.repository.versions, name)
            except (ModelNotFound, OSError) as error:  # the follower notices if it is gone
                log.error("model %s cannot be loaded: %s", name, error)
                return False
            for record in self._known(name):
                if record.sleeps:
                    record.reason = ""  # which says that it sleeps
            await self.load(name, versions)
            return self._registry.default(name) is not None

    # Memory

    def loaded(self) -> list[LoadedModel]:
        """See ``Memory``."""
        return self._registry.loaded()

    def retiring_bytes(self) -> int:
        """See ``Memory``."""
        return self._loads.retiring_bytes

    def may_ever_sleep(self, name: str) -> bool:
        """Not while a canary is compared, whose figures would be lost."""
        return self._registry.rollout(name) is None

    def is_changing(self, name: str) -> bool:
        """See ``Memory``."""
        return self._locks[name].is_used

    async def sleep(self, name: str) -> None:
        """See ``Memory``. Nobody has the lock or waits for it, so this does not wait for it either."""
        async with self._locks[name]:
            await self.begin(name, ())
