"""Loads, replaces and retires versions as serving.json and the disk ask for it, the new before the old goes."""

import asyncio
import logging
import time
from collections import defaultdict
from collections.abc import Callable, Hashable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from app.errors import Draining, ServingError, VersionRefused
from app.repository.policy import CANARY, STABLE, ServingPolicy
from app.repository.serving_file import Promotion
from app.serving.model import LoadedModel
from app.serving.registry import Registry
from app.serving.rollout import Rollout
from app.serving.versions import State, VersionRecord, listed, no_model, no_version

log = logging.getLogger("atelier.lifecycle")

# A version that is no longer wanted may finish the requests that hold it for this long.
RETIRE_TIMEOUT_S = 60.0
# A refused version whose directory goes on changing is tried again after 1, 2, 4 ... seconds, at most after these.
LONGEST_BACKOFF_S = 60.0


@dataclass(frozen=True, kw_only=True)
class Repository:
    """What lies on the disk, each read anew. All of these block.

    Attributes:
        scan: model name -> versions, newest first; OSError if the directory cannot be read.
        snapshot: model name -> something other than before if the model has changed.
        policy: serving.json of a model; VersionRefused if it is broken.
        fingerprint: of a version; other than before if any of its files changed.
        load: loads a version; VersionRefused if it must not serve.
        promote: gives a version the label "stable" in serving.json.
        rollback: gives it back to the version before, and ``rollback_target`` says which that is.
        halt: writes into serving.json why the canary gets no more requests.
    """

    scan: Callable[[], Mapping[str, list[int]]]
    snapshot: Callable[[], Mapping[str, Hashable]]
    policy: Callable[[str], ServingPolicy]
    fingerprint: Callable[[str, int], Hashable]
    load: Callable[[str, int], LoadedModel]
    promote: Callable[[str, int, list[int]], Promotion]
    rollback: Callable[[str, list[int]], Promotion]
    rollback_target: Callable[[str, list[int]], int]
    halt: Callable[[str, str], None]


class Lifecycle:
    """Brings the registry in line with the repository.

    Args:
        registry: what requests see.
        repository: what lies on the disk.
        on_load: is told of every attempt to load (model, whether it serves now, seconds).
    """

    def __init__(
        self, registry: Registry, repository: Repository, *, on_load: Callable[[str, bool, float], None]
    ) -> None:
        self.registry = registry
        self.repository = repository
        self._on_load = on_load
        self._unloaded: set[str] = set()
        self._halting: asyncio.Task[None] | None = None
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def load_all(self) -> None:
        """Load what the policy of every model asks for."""
        registry = self.registry
        try:
            found = await asyncio.to_thread(self.repository.scan)
        except OSError as error:
            log.error("the models directory cannot be read: %s", error)
            found = {}
        for name, versions in found.items():
            async with self._locks[name]:
                with suppress(VersionRefused):  # said in the log and in every version's state
                    await self._follow_policy(name, versions, retry=True)
        registry.loading = False
        serving = sum(registry.live(name) is not None for name in registry.names())
        if serving:
            log.info("ready: %d of %d models serve", serving, len(registry.names()))
        else:
            log.error("no model version could be loaded: %s", registry.why_none)

    async def load(self, name: str) -> None:
        """Load what the policy of one model asks for, from what is on disk now; versions that serve stay loaded.

        New versions serve before those that the policy no longer wants stop; versions whose batching or backend
        serving.json has changed are loaded anew and take the place of the old ones likewise.

        Raises:
            ModelNotFound: it is not in the repository.
            Draining: the service is shutting down.
            VersionRefused: a version asked for is refused; says why, and what serves instead.
        """
        found = await self._on_disk(name)
        async with self._locks[name]:
            self._unloaded.discard(name)
            refused = await self._follow_policy(name, found, retry=True)
            if refused is not None:
                live = self.registry.live(name)
                instead = f"version {live.version} serves" if live is not None else "no version serves"
                raise VersionRefused(f"model {name!r} version {refused.version} refused: {refused.reason}; {instead}")

    async def follow(self, name: str, versions: list[int]) -> float | None:
        """Follow what has changed on the disk, without being asked for a model.

        A model that was unloaded stays so, and a refused version is tried again only if its files have changed.

        Args:
            name: model.
            versions: of it on the disk, newest first; none if the model is gone.

        Returns:
            Seconds after which a version that is refused and still changing should be looked at again; None: at the
            next change.
        """
        if self.registry.draining or name in self._unloaded:
            return None
        async with self._locks[name]:
            if not versions:
                if self.registry.live(name) is not None:
                    log.warning("model %s is gone from the models directory; what is loaded goes on serving", name)
                return None
            with suppress(VersionRefused):  # said in the log and in every version's state
                await self._follow_policy(name, versions, retry=False)
            waits = [record.retry_at - time.monotonic() for record in self.registry.records(name) if record.retry_at]
            return max(0.0, min(waits)) if waits else None

    async def unload(self, name: str, *, timeout_s: float) -> None:
        """Stop serving a model: finish the requests that hold it within ``timeout_s``, fail the rest, free it.

        It stays unloaded until ``load``.

        Raises:
            ModelNotFound: there is no such model.
        """
        async with self._locks[name]:
            records = self.registry.records(name)
            self._unloaded.add(name)
            self.registry.serve(name, None)
            self.registry.roll_out(name, None)
            reason = f"unloaded; POST /v2/repository/models/{name}/load loads it"
            await asyncio.gather(*(self._retire(name, record, reason, timeout_s) for record in records))

    async def promote(self, name: str, version: int) -> Promotion:
        """Let a version answer the requests that name none, once it is loaded.

        Raises:
            ModelNotFound, VersionNotFound: it is not in the repository.
            VersionRefused: it does not load, or serving.json is broken or cannot be written; nothing has changed.
        """
        found = await self._on_disk(name)
        if version not in found:
            raise no_version(name, version, found)
        async with self._locks[name]:
            return await self._make_stable(name, version, found, partial(self.repository.promote, name, version, found))

    async def rollback(self, name: str) -> Promotion:
        """Let the version answer again that did before the last promotion.

        Raises:
            ModelNotFound, VersionNotFound: there is nothing to go back to.
            VersionRefused: see ``promote``.
        """
        found = await self._on_disk(name)
        async with self._locks[name]:
            version = await asyncio.to_thread(self.repository.rollback_target, name, found)
            return await self._make_stable(name, version, found, partial(self.repository.rollback, name, found))

    async def _on_disk(self, name: str) -> list[int]:
        if self.registry.draining:
            raise Draining("the service is shutting down")
        found = await asyncio.to_thread(self.repository.scan)
        if name not in found:
            raise no_model(name, found)
        return found[name]

    async def _make_stable(
        self, name: str, version: int, versions: list[int], write: Callable[[], Promotion]
    ) -> Promotion:
        """Load the version, then write serving.json, then follow it."""
        if self.registry.enter(name, version).model is None and await self._try(name, version) is None:
            reason = self.registry.record(name, version).reason
            raise VersionRefused(f"model {name!r} version {version} does not become stable: {reason}")
        try:
            promotion = await asyncio.to_thread(write)
        except OSError as error:
            raise VersionRefused(f"serving.json of model {name!r} cannot be written: {error.strerror}") from error
        self._unloaded.discard(name)
        await self._follow_policy(name, versions, retry=False)
        log.info("model %s: version %d is stable, before it was %s", name, version, promotion.before)
        return promotion

    async def load_one(self, name: str, version: int | None) -> None:
        """Load one model only: ``version``, or what would answer requests that name none.

        Raises:
            ModelNotFound, VersionNotFound: it is not in the repository.
            VersionRefused: serving.json is broken.
        """
        found = await asyncio.to_thread(self.repository.scan)
        if name not in found:
            raise no_model(name, found)
        if version is not None and version not in found[name]:
            raise no_version(name, version, found[name])
        wanted = [version] if version is not None else []
        if version is None:
            policy = await self._policy(name, found[name])
            wanted = [policy.version_labels[STABLE]] if policy.version_labels.get(STABLE) in found[name] else []
            wanted += policy.candidates(found[name])[0]
        for candidate in wanted:
            if (model := await self._try(name, candidate)) is not None:
                self.registry.serve(name, model)
                break

    async def _follow_policy(self, name: str, versions: list[int], *, retry: bool) -> VersionRecord | None:
        """Load what is wanted and not there, then retire what is there and not wanted.

        Args:
            name: model.
            versions: of it on the disk, newest first.
            retry: also versions that were refused and have not changed.

        Returns:
            A version that is asked for by name, or is the newest, and is refused; None if all serve.

        Raises:
            VersionRefused: serving.json is broken, or wants only versions that are not there.
        """
        registry = self.registry
        self._forget_gone(name, versions)
        policy = await self._policy(name, versions)
        labels = policy.version_labels
        candidates, wanted = policy.candidates(versions)
        named = [labels[label] for label in (STABLE, *sorted(labels)) if labels.get(label) in versions]
        tried: dict[int, LoadedModel | None] = {}

        async def loads(version: int) -> bool:
            if version not in tried:
                tried[version] = model = await self._load_or_keep(name, version, policy, retry=retry)
                if model is not None and registry.live(name) is None and version != labels.get(CANARY):
                    registry.serve(name, model)  # the others may take a while to load
            return tried[version] is not None

        for version in named:
            await loads(version)
        for version in candidates:
            if wanted == 0:
                break
            wanted -= await loads(version)
        ready = {version: model for version, model in tried.items() if model is not None}
        live = self._choose_live(name, policy, ready, candidates)
        if live is not None:
            registry.serve(name, live)
            chosen = {live.version, *ready}
            surplus = [record for record in registry.records(name) if record.model and record.version not in chosen]
            reason = "unloaded: version_policy asks for other versions"
            await asyncio.gather(*(self._retire(name, record, reason, RETIRE_TIMEOUT_S) for record in surplus))
        registry.label(name, labels)
        self._roll_out(name, policy, live, ready.get(labels.get(CANARY, 0)))
        for label, version in labels.items():
            if version not in ready:
                log.warning("model %s: label %r names version %d, which does not serve", name, label, version)
        asked = [version for version in (*named, *candidates[:1]) if version not in ready]
        return registry.record(name, asked[0]) if asked else None

    async def _policy(self, name: str, versions: list[int]) -> ServingPolicy:
        try:
            policy = await asyncio.to_thread(self.repository.policy, name)
            if not policy.candidates(versions)[0]:
                raise VersionRefused(
                    f"serving.json of model {name!r}: version_policy.specific names none of the versions in the "
                    f"repository: {listed(versions)}"
                )
        except VersionRefused as error:
            log.error("model %s: %s", name, error.message)
            for version in versions:
                record = self.registry.enter(name, version)
                if record.model is None:
                    record.refused = True
                    self.registry.set(name, record, State.UNAVAILABLE, error.message)
            raise
        return policy

    def _choose_live(
        self, name: str, policy: ServingPolicy, ready: Mapping[int, LoadedModel], candidates: list[int]
    ) -> LoadedModel | None:
        """Stable if that is loaded, or the newest. If stable is refused, what served before goes on."""
        stable = policy.version_labels.get(STABLE)
        if stable is not None and (live := ready.get(stable) or self.registry.live(name)) is not None:
            return live
        return next((ready[version] for version in candidates if version in ready), None)

    def _roll_out(self, name: str, policy: ServingPolicy, live: LoadedModel | None, canary: LoadedModel | None) -> None:
        """Try the canary beside ``live``; what is known of the same two goes on being known."""
        if live is None or canary is None or live is canary:
            self.registry.roll_out(name, None)
            return
        old = self.registry.rollout(name)
        same = old is not None and (old.stable, old.canary) == (live, canary)
        if old is not None and same and old.policy == policy.rollout:
            return
        new = Rollout(policy.rollout, live, canary, partial(self._halt, name), clock=time.perf_counter)
        new.reason = policy.rollout.halted
        if old is not None and same:
            new.comparison = old.comparison
        self.registry.roll_out(name, new)

    def _halt(self, name: str, reason: str) -> None:
        """A canary has passed a limit: write that down, so that it stays so after a restart."""
        log.error("model %s: the canary is halted: %s", name, reason)
        self._halting = asyncio.create_task(self._write_halt(name, reason))

    async def _write_halt(self, name: str, reason: str) -> None:
        try:
            await asyncio.to_thread(self.repository.halt, name, reason)
        except (OSError, ServingError) as error:
            log.error("model %s: serving.json does not say so, and a restart tries the canary again: %s", name, error)

    def _forget_gone(self, name: str, versions: list[int]) -> None:
        """Drop what is known of versions that neither serve nor lie on the disk any more."""
        if name in self.registry.names():
            for record in self.registry.records(name):
                if record.version not in versions and record.model is None:
                    self.registry.forget(name, record.version)

    async def _load_or_keep(self, name: str, version: int, policy: ServingPolicy, *, retry: bool) -> LoadedModel | None:
        """The version as it serves, if it was loaded with these settings; else loaded now. None if it is refused."""
        known = self.registry.enter(name, version)
        old = known.model
        if old is None:
            return await self._try(name, version) if retry or await self._is_worth_a_try(name, known) else None
        if old.load_settings == policy.load_settings:
            return old
        try:
            new = await self._load(name, version)
        except ServingError as error:
            log.error("model %s version %d goes on as it was: %s", name, version, error.message)
            raise VersionRefused(f"{error.message}; version {version} goes on serving as it was") from error
        known.model = new
        if self.registry.live(name) is old:
            self.registry.serve(name, new)
        await self._free(name, old, RETIRE_TIMEOUT_S)
        log.info("model %s version %d loaded anew on %s: its settings have changed", name, version, new.provider)
        return new

    async def _is_worth_a_try(self, name: str, record: VersionRecord) -> bool:
        """Not if it was refused and is the same still, or has been tried a moment ago."""
        if not record.refused:
            return True
        fingerprint = await asyncio.to_thread(self.repository.fingerprint, name, record.version)
        if fingerprint == record.fingerprint:
            record.retry_at = None
            return False
        backoff_s = min(2.0 ** (record.failures - 1), LONGEST_BACKOFF_S)
        record.retry_at = record.tried_at + backoff_s
        return time.monotonic() >= record.retry_at

    async def _try(self, name: str, version: int) -> LoadedModel | None:
        record = self.registry.enter(name, version)
        self.registry.set(name, record, State.LOADING)
        record.fingerprint = await asyncio.to_thread(self.repository.fingerprint, name, version)
        record.retry_at, reason = None, ""
        try:
            record.model = await self._load(name, version)
        except ServingError as error:
            reason = error.message
            log.error("model %s version %d refused: %s", name, version, reason)
        except Exception as error:
            reason = f"loading failed: {error}"
            log.exception("model %s version %d failed to load", name, version)
        record.refused = record.model is None
        if record.model is None:
            record.failures, record.tried_at = record.failures + 1, time.monotonic()
            self.registry.set(name, record, State.UNAVAILABLE, reason)
            return None
        record.failures = 0
        self.registry.set(name, record, State.READY)
        log.info(
            "model %s version %d ready on %s by %s, golden difference %.2g, %.0f us alone; %s",
            name,
            version,
            record.model.placement.device,
            record.model.provider,
            record.model.golden_difference,
            record.model.curve.seconds[0] * 1e6,
            record.model.placement.reason,
        )
        return record.model

    async def _load(self, name: str, version: int) -> LoadedModel:
        began, succeeded = time.monotonic(), False
        try:
            model = await asyncio.to_thread(self.repository.load, name, version)
            succeeded = True
            return model
        finally:
            self._on_load(name, succeeded, time.monotonic() - began)

    async def _retire(self, name: str, record: VersionRecord, reason: str, timeout_s: float) -> None:
        """Let the requests that hold a version finish, then free it."""
        model = record.model
        if model is None:
            return
        record.model = None
        self.registry.set(name, record, State.UNLOADING, "unloading")
        await self._free(name, model, timeout_s)
        self.registry.set(name, record, State.UNAVAILABLE, reason)
        log.info("model %s version %d unloaded", name, record.version)

    async def _free(self, name: str, model: LoadedModel, timeout_s: float) -> None:
        try:
            await asyncio.wait_for(model.leases.ended(), timeout_s)
        except TimeoutError:
            log.warning("model %s version %d: requests did not finish within %g s", name, model.version, timeout_s)
        model.admission.draining = True
        model.batcher.fail_unfinished()
        await asyncio.to_thread(model.batcher.close)
