"""Changes what this process serves: load, unload, promote, roll back, follow the disk."""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress

from app.errors import Draining, NoRoom, VersionRefused
from app.lifecycle.aspired_versions import AspiredVersions
from app.lifecycle.commands import Commands
from app.lifecycle.registry import Registry
from app.lifecycle.sleeping import Sleeping
from app.lifecycle.start import Start
from app.lifecycle.version_loads import VersionLoads
from app.lifecycle.versions import State
from app.loaded import LoadedModel
from app.recording.recording import Recording
from app.repository.missing import no_version
from app.repository.policy import STABLE, ServingPolicy
from app.repository.recording_policy import RecordingPolicy
from app.repository.repository import Repository
from app.repository.rollout_policy import CanaryPair
from app.rollout.canary import Rollout

log = logging.getLogger("atelier.lifecycle")

# A version for which there was no room is tried again then.
NO_ROOM_RETRY_S = 30.0


class Lifecycle(Commands):
    """Updates the registry from the repository.

    Args:
        registry: what requests see.
        repository: the models directory.
        load: loads a version with the settings of a policy; VersionRefused if it must not serve. Blocks.
        judges_canaries: this process judges its canaries by itself; with workers, the supervisor does.
        load_timeout_s: a version that takes longer to load is refused.
        on_load: called after every attempt to load with (model, whether it serves now, seconds).
        on_policy: called with (model, whether its serving.json is broken).
        on_freed: called when memory of a version is free and can be returned to the system.
        unloaded: models, and versions of each, that stay unloaded until ``load``.
        loads_on_request: models load with their first request, in place of at the start.
        memory_limit_bytes: see ``Sleeping``.
        parallel_loads: loads that run at the same time.
        start_recording: makes what records the requests of a model; by default nothing is recorded.
    """

    def __init__(
        self,
        registry: Registry,
        repository: Repository,
        *,
        load: Callable[[str, int, ServingPolicy], LoadedModel],
        judges_canaries: bool = True,
        load_timeout_s: float,
        on_load: Callable[[str, bool, float], None],
        on_policy: Callable[[str, bool], None] = lambda name, broken: None,
        on_freed: Callable[[], None] = lambda: None,
        unloaded: Mapping[str, Iterable[int]] | None = None,
        loads_on_request: bool = False,
        memory_limit_bytes: int | None = None,
        parallel_loads: int = 1,
        start_recording: Callable[[str, RecordingPolicy], Recording] = Recording,
    ) -> None:
        super().__init__(repository)
        self.registry = registry
        self._loads = VersionLoads(
            registry,
            repository,
            load=load,
            load_timeout_s=load_timeout_s,
            on_load=on_load,
            on_freed=on_freed,
            parallel=parallel_loads,
        )
        self._aspired = AspiredVersions(
            self._loads, on_policy, self._halt if judges_canaries else None, start_recording
        )
        self._sleeping = Sleeping(self._loads, self._aspired, self._locks, memory_limit_bytes=memory_limit_bytes)
        self._loads_on_request = loads_on_request
        self._halting: set[asyncio.Task[None]] = set()
        self._unloaded = set(unloaded or {})
        self._start = Start(
            self._loads,
            self._sleeping,
            self._locks,
            unloaded=self._unloaded,
            loads_on_request=loads_on_request,
            parallel=parallel_loads,
        )
        for name, versions in (unloaded or {}).items():
            for version in versions:
                registry.set(name, registry.enter(name, version), State.UNAVAILABLE, _why_unloaded(name))

    async def load_all(self) -> None:
        """Load the versions that the policies specify; a long load of one model does not delay other models."""
        await self._start.load_all()

    def end_loads(self) -> None:
        """Wait for no load any more: the service is shutting down. On the event loop."""
        self._loads.threads.end()

    @property
    def any_load_runs(self) -> bool:
        """Whether a thread loads a version, even if its result is not needed any more."""
        return self._loads.threads.any_runs

    async def _load(self, name: str, versions: list[int]) -> None:
        self._unloaded.discard(name)
        before = self.registry.default(name)
        try:
            refused = await self._sleeping.apply(name, versions, retry=True)
        except VersionRefused as error:
            raise VersionRefused(f"{error.message}; {self._who_serves(name, before)}") from error
        if refused is not None:
            raise VersionRefused(
                f"model {name!r} version {refused.version} refused: {refused.reason}; {self._who_serves(name, before)}"
            )

    def _who_serves(self, name: str, before: LoadedModel | None) -> str:
        default = self.registry.default(name)
        if default is None:
            return "no version serves"
        return f"version {default.version} {'continues to serve' if default is before else 'serves instead'}"

    async def follow(self, name: str) -> float | None:
        """Follow changes on the disk, without a command for a model.

        A model that was unloaded stays so, and a refused version is loaded again only if its files have changed.

        Returns:
            Seconds after which a version that is refused and still changing should be checked again; None: at the
            next change.
        """
        async with self._locks[name]:
            return await self._follow_disk(name)

    async def _follow_disk(self, name: str) -> float | None:
        if self.registry.draining or name in self._unloaded:
            return None
        versions = (await asyncio.to_thread(self.repository.scan)).get(name, [])
        if not versions:
            if name in self.registry.asleep.names:
                self._loads.forget_gone(name, versions)
            if self.registry.default(name) is not None:
                log.warning("model %s is gone from the models directory; its loaded versions continue to serve", name)
            return None
        is_new = name not in self.registry.names()
        if name in self.registry.asleep.names or (is_new and self._loads_on_request):
            self._loads.forget_gone(name, versions)
            await self._sleeping.begin(name, versions)
            return None
        try:
            with suppress(VersionRefused, Draining):  # in the log and in the state of every version
                await self._sleeping.apply(name, versions, retry=False)
        except NoRoom as error:
            log.warning("%s", error.message)
            return None if name in self.registry.asleep.names else NO_ROOM_RETRY_S
        waits = [record.retry_at - time.monotonic() for record in self.registry.records(name) if record.retry_at]
        return max(0.0, min(waits)) if waits else None

    async def unload(self, name: str, *, timeout_s: float) -> None:
        """Stop serving a model: finish the requests that use it within ``timeout_s``, fail the rest, free it.

        It stays unloaded until ``load``.

        Raises:
            ModelNotFound: the model does not exist.
        """
        self.registry.records(name)  # before a lock is made for the name
        async with self._locks[name]:
            records = self.registry.records(name)
            self._unloaded.add(name)
            self.registry.asleep.remove(name)
            self.registry.set_default(name, None)
            self.registry.roll_out(name, None)
            reason = _why_unloaded(name)
            await asyncio.gather(*(self._loads.retire(name, record, reason, timeout_s) for record in records))

    async def default_version(self, name: str, versions: list[int]) -> int | None:
        """See ``Commands``; the version that serving.json makes stable, if it is only not followed yet."""
        stable = (await asyncio.to_thread(self.repository.policy, name)).version_labels.get(STABLE)
        if stable in versions and not self.registry.refuses(name, stable):
            return stable
        default = self.registry.default(name)
        return default.version if default is not None else self.registry.asleep.names.get(name)

    # With workers, the supervisor has a separate lock, and calls these steps of its commands in each worker.

    async def prepare(self, name: str, version: int) -> None:
        """Load a version that is to become stable; VersionRefused if it does not load."""
        async with self._locks[name]:
            await self._prepare(name, version)

    async def settle(self, name: str, version: int) -> None:
        """Follow a promotion of that version; VersionRefused: see ``promote``."""
        async with self._locks[name]:
            await self._settle(name, version)

    @property
    def _is_draining(self) -> bool:
        return self.registry.draining

    async def _prepare(self, name: str, version: int) -> None:
        if self.registry.enter(name, version).model is not None:
            return
        policy = await asyncio.to_thread(self.repository.policy, name)
        if await self._loads.attempt(name, version, policy) is None:
            reason = self.registry.record(name, version).reason
            raise VersionRefused(f"model {name!r} version {version} does not become stable: {reason}")

    async def _settle(self, name: str, version: int) -> None:
        versions = await self._versions(name)
        self._unloaded.discard(name)
        before = self.registry.default(name)
        try:
            await self._sleeping.apply(name, versions, retry=False)
        except (VersionRefused, NoRoom) as error:
            if (default := self.registry.default(name)) is None or default.version != version:
                raise VersionRefused(
                    f"serving.json of model {name!r} says now that version {version} is stable, and cannot be "
                    f"followed: {error.message}; {self._who_serves(name, before)}"
                ) from error

    async def _follow(self, name: str) -> None:
        try:
            await self._follow_disk(name)
        except OSError as error:
            log.error("model %s cannot be followed: %s", name, error)

    async def _stop_canary(self, pair: CanaryPair, reason: str) -> None:
        rollout = self.registry.rollout(pair.name)
        if rollout is not None and rollout.pair == pair:
            rollout.stop(reason, is_written=True)

    def _halt(self, rollout: Rollout, reason: str) -> None:
        """Called when a canary of this process has exceeded a limit."""
        task = asyncio.create_task(self.halt(rollout.pair, reason, judged=rollout.policy))
        self._halting.add(task)
        task.add_done_callback(self._halting.discard)

    async def load_one(self, name: str, version: int | None) -> None:
        """Load one version only: ``version``, or the default version; if it does not load, its record has the reason.

        Raises:
            ModelNotFound, VersionNotFound: it is not in the repository.
            VersionRefused: serving.json is broken.
        """
        versions = await asyncio.to_thread(self.repository.versions, name)
        if version is None:
            await self._aspired.load_default(name, versions)
            return
        if version not in versions:
            raise no_version(name, version, versions)
        policy = await asyncio.to_thread(self.repository.policy, name)
        if (model := await self._loads.attempt(name, version, policy)) is not None:
            self.registry.set_default(name, model)


def _why_unloaded(name: str) -> str:
    return f"unloaded; POST /v2/repository/models/{name}/load loads it"
