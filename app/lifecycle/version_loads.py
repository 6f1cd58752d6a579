"""Loads, replaces and retires single versions; the new one serves before the old one retires."""

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine
from functools import partial
from typing import TYPE_CHECKING, Any

from app.errors import Draining, ModelNotReady, NoRoom, ServingError, TensorFlowMissing, VersionRefused, shortened
from app.lifecycle.loading.load_threads import LoadThreads
from app.lifecycle.registry import Registry
from app.lifecycle.versions import State, VersionRecord
from app.loaded import LoadedModel, unloaded
from app.repository.policy import ServingPolicy
from app.repository.repository import Repository

if TYPE_CHECKING:
    from app.lifecycle.memory_limit import MemoryLimit

log = logging.getLogger("atelier.lifecycle")

# A version that retires has this long to finish its requests.
RETIRE_TIMEOUT_S = 60.0
# A refused version whose directory keeps changing is loaded again after 1, 2, 4 ... seconds, at most after these.
LONGEST_BACKOFF_S = 60.0


class VersionLoads:
    """Adds single versions to the registry and removes them.

    Args:
        registry: what requests see.
        repository: the models directory.
        load: loads a version with the settings of a policy; VersionRefused if it must not serve. Blocks.
        on_load: called after every attempt to load with (model, whether it serves now, seconds).
        on_freed: called after each version that was freed, and after each attempt that failed.
        load_timeout_s: a load that takes longer is refused.
        parallel: loads that run at the same time.

    Attributes:
        memory: most memory of all versions; None: no limit.
        retiring_bytes: of versions that finish their last requests.
    """

    def __init__(
        self,
        registry: Registry,
        repository: Repository,
        *,
        load: Callable[[str, int, ServingPolicy], LoadedModel],
        load_timeout_s: float,
        on_load: Callable[[str, bool, float], None],
        on_freed: Callable[[], None] = lambda: None,
        parallel: int = 1,
    ) -> None:
        self.registry = registry
        self.repository = repository
        self.threads = LoadThreads(timeout_s=load_timeout_s, parallel=parallel)
        self.memory: MemoryLimit | None = None
        self.retiring_bytes = 0
        self._retiring: set[asyncio.Future[None]] = set()
        # SavedModels that were skipped at the start.
        self.without_tensorflow: list[str] = []
        self._load_blocking = load
        self._on_load = on_load
        self._on_freed = on_freed

    def forget_gone(self, name: str, versions: list[int]) -> None:
        """Drop the records of versions that neither serve nor are on the disk."""
        if name in self.registry.names():
            for record in self.registry.records(name):
                if record.version not in versions and record.model is None:
                    self.registry.forget(name, record.version)

    async def load(self, name: str, version: int, policy: ServingPolicy, *, retry: bool) -> LoadedModel | None:
        """The version, loaded now with the settings of a policy; None if it is refused, now or as before.

        Args:
            name: model.
            version: of it; if it serves already, it is loaded again and then replaced.
            policy: the settings.
            retry: load it again although it was refused and has not changed.

        Raises:
            VersionRefused: it serves, and does not load again; it continues with the settings it has.
            Draining, NoRoom: see ``attempt``.
        """
        known = self.registry.enter(name, version)
        if known.model is not None:
            return await self._replace(name, known, known.model, policy)
        if retry or await self._may_have_changed(name, known, policy):
            return await self.attempt(name, version, policy)
        return None

    async def _replace(self, name: str, record: VersionRecord, old: LoadedModel, policy: ServingPolicy) -> LoadedModel:
        try:
            new = await self._load(name, record.version, policy)
        except Draining:
            raise
        except ServingError as error:
            log.error("model %s version %d keeps its settings: %s", name, record.version, error.message)
            raise VersionRefused(error.message) from error
        record.model = new
        self.registry.replace(name, old, new)
        new.leases.used_at = old.leases.used_at
        await self._in_any_case(self._free(name, old, RETIRE_TIMEOUT_S))
        log.info(
            "model %s version %d loaded again on %s: its settings have changed", name, record.version, new.provider
        )
        return new

    async def _may_have_changed(self, name: str, record: VersionRecord, policy: ServingPolicy) -> bool:
        """False if it was refused with these settings and these files, or if its files have changed just now."""
        if not record.refused:
            return True
        fingerprint = await asyncio.to_thread(self.repository.fingerprint, name, record.version)
        if fingerprint == record.fingerprint:
            record.retry_at = None
            return record.settings != policy.load_settings
        backoff_s = min(2.0 ** (record.failures - 1), LONGEST_BACKOFF_S)
        record.retry_at = record.tried_at + backoff_s
        return time.monotonic() >= record.retry_at

    async def attempt(self, name: str, version: int, policy: ServingPolicy) -> LoadedModel | None:
        """The version, loaded now with these settings; None if it is refused, with the reason in its record.

        Raises:
            Draining: the service is shutting down, and waits for no load.
            NoRoom: see ``MemoryLimit``.
        """
        record = self.registry.enter(name, version)
        self.registry.set(name, record, State.LOADING)
        record.fingerprint = await asyncio.to_thread(self.repository.fingerprint, name, version)
        record.settings = policy.load_settings
        record.retry_at, reason = None, ""
        try:
            record.model = await self._load(name, version, policy)
        except (Draining, NoRoom) as error:
            self.registry.set(name, record, State.UNAVAILABLE, error.message)
            raise
        except asyncio.CancelledError:
            self.registry.set(name, record, State.UNAVAILABLE, "the load was cancelled")
            raise
        except ServingError as error:
            reason = error.message
            if isinstance(error, TensorFlowMissing) and self.registry.loading:
                self.without_tensorflow.append(f"{name} version {version}")
            else:
                log.error("model %s version %d refused: %s", name, version, reason)
        except Exception as error:
            reason = shortened(f"loading failed: {error}")
            log.exception("model %s version %d failed to load", name, version)
        record.refused = record.model is None
        if record.model is None:
            record.failures, record.tried_at = record.failures + 1, time.monotonic()
            self.registry.set(name, record, State.UNAVAILABLE, reason)
            return None
        record.failures = 0
        self.registry.set(name, record, State.READY)
        log.info(
            "model %s version %d ready on %s by %s, %s, %.0f us for one instance; %s",
            name,
            version,
            ", ".join(record.model.instances.devices),
            record.model.provider,
            record.model.unverified or f"golden difference {record.model.golden_difference:.2g}",
            record.model.curve.seconds[0] * 1e6,
            record.model.instances.reason,
        )
        return record.model

    async def _load(self, name: str, version: int, policy: ServingPolicy) -> LoadedModel:
        began, succeeded = time.monotonic(), False
        try:
            if self.memory is not None:
                await self.memory.before_load(name, version)
            model = await self.threads.run(partial(self._load_blocking, name, version, policy))
            if self.memory is not None:
                try:
                    await self.memory.after_load(model)
                except BaseException as error:
                    await _close(model, error if isinstance(error, ServingError) else None)
                    raise
            succeeded = True
            return model
        finally:
            self._on_load(name, succeeded, time.monotonic() - began)
            if not succeeded:
                self._on_freed()

    async def retire(self, name: str, record: VersionRecord, reason: str, timeout_s: float) -> None:
        """Finish the requests that use a version, then free it."""
        model = record.model
        if model is None:
            return
        record.model = None
        self.registry.set(name, record, State.UNLOADING, "unloading")
        await self._in_any_case(self._retire(name, record, model, reason, timeout_s))

    async def _retire(
        self, name: str, record: VersionRecord, model: LoadedModel, reason: str, timeout_s: float
    ) -> None:
        await self._free(name, model, timeout_s)
        self.registry.set(name, record, State.UNAVAILABLE, reason)
        log.info("model %s version %d unloaded", name, record.version)

    async def _in_any_case(self, freeing: Coroutine[Any, Any, None]) -> None:
        """Free a version even if whoever waits for it is cancelled."""
        task = asyncio.create_task(freeing)
        self._retiring.add(task)
        task.add_done_callback(self._retiring.discard)
        await asyncio.shield(task)

    async def _free(self, name: str, model: LoadedModel, timeout_s: float) -> None:
        self.retiring_bytes += model.memory_bytes
        try:
            async with asyncio.timeout(timeout_s):
                await model.leases.ended()
        except TimeoutError:
            log.warning("model %s version %d: requests did not finish within %g s", name, model.version, timeout_s)
        await _close(model, ModelNotReady(unloaded(name, model.version)))
        self.retiring_bytes -= model.memory_bytes
        self._on_freed()


async def _close(model: LoadedModel, why: ServingError | None) -> None:
    """End a version; waiting work is answered with the error."""
    for each in reversed(model.with_signatures):  # the process of a SavedModel ends with the first
        each.admission.draining = True
        each.batcher.stop(why)
        await asyncio.to_thread(each.batcher.close)
