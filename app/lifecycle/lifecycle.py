"""What may be asked of the service about its models: load, unload, promote, roll back, follow the disk."""

import asyncio
import logging
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from functools import partial

from app.errors import Draining, VersionRefused
from app.lifecycle.aspired_versions import AspiredVersions
from app.lifecycle.registry import Registry
from app.lifecycle.version_loads import Repository, VersionLoads
from app.lifecycle.versions import State, no_model, no_version, unwritable
from app.loaded import LoadedModel
from app.repository.policy import STABLE
from app.repository.serving_file import Promotion

log = logging.getLogger("atelier.lifecycle")


class Lifecycle:
    """Brings the registry in line with the repository.

    Args:
        registry: what requests see.
        repository: what lies on the disk.
        load_timeout_s: a version that takes longer to load is refused.
        on_load: is told of every attempt to load (model, whether it serves now, seconds).
        on_policy: is told whether serving.json of a model is broken (model, broken).
        on_freed: is told when memory of a version is free that can be given back.
        unloaded: models, and versions of each, that stay unloaded until ``load``.
    """

    def __init__(
        self,
        registry: Registry,
        repository: Repository,
        *,
        load_timeout_s: float,
        on_load: Callable[[str, bool, float], None],
        on_policy: Callable[[str, bool], None] = lambda name, broken: None,
        on_freed: Callable[[], None] = lambda: None,
        unloaded: Mapping[str, Iterable[int]] | None = None,
    ) -> None:
        self.registry = registry
        self.repository = repository
        self._loads = VersionLoads(registry, repository, on_load, on_freed, load_timeout_s=load_timeout_s)
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._aspired = AspiredVersions(self._loads, on_policy, self._locks)
        self._unloaded = set(unloaded or {})
        for name, versions in (unloaded or {}).items():
            for version in versions:
                registry.set(name, registry.enter(name, version), State.UNAVAILABLE, _why_unloaded(name))

    async def load_all(self) -> None:
        """Load what the policy of every model asks for; a load that takes long holds up no other model's."""
        registry = self.registry
        try:
            found = await asyncio.to_thread(self.repository.scan)
        except OSError as error:
            log.error("the models directory cannot be read: %s", error)
            found = {}
        await asyncio.gather(*(self._load_first(name, versions) for name, versions in found.items()))
        registry.loading = False
        serving = sum(registry.live(name) is not None for name in registry.names())
        if missing := [name for name in registry.names() if registry.live(name) is None]:
            do = "model does" if len(missing) == 1 else "models do"
            log.warning("%d %s not serve: %s", len(missing), do, ", ".join(missing))
        if serving:
            log.info("ready: %d of %d models serve", serving, len(registry.names()))
        else:
            log.error("no model version could be loaded: %s", registry.why_none)

    async def _load_first(self, name: str, versions: list[int]) -> None:
        async with self._locks[name]:
            if name not in self._unloaded:
                with suppress(VersionRefused, Draining):  # said in the log and in every version's state
                    await self._aspired.bring_about(name, versions, retry=True)

    def end_loads(self) -> None:
        """Wait for no load any more: the service is shutting down. On the event loop."""
        self._loads.threads.end()

    @property
    def any_load_runs(self) -> bool:
        """Whether a thread loads something, be it one that nobody waits for any more."""
        return self._loads.threads.any_runs

    async def load(self, name: str) -> None:
        """Load what the policy of one model asks for, from what is on disk now; versions that serve stay loaded.

        New versions serve before those that the policy no longer wants stop; versions whose batching or backend
        serving.json has changed are loaded anew and take the place of the old ones likewise.

        Raises:
            ModelNotFound: it is not in the repository.
            Draining: the service is shutting down.
            VersionRefused: serving.json is broken, or a version asked for is refused; says why, and which one
                answers requests that name none all the same.
        """
        found = await self._on_disk(name)
        async with self._locks[name]:
            self._unloaded.discard(name)
            before = self.registry.live(name)
            try:
                refused = await self._aspired.bring_about(name, found, retry=True)
            except VersionRefused as error:
                raise VersionRefused(f"{error.message}; {self._who_serves(name, before)}") from error
            if refused is not None:
                raise VersionRefused(
                    f"model {name!r} version {refused.version} refused: {refused.reason}; "
                    f"{self._who_serves(name, before)}"
                )

    def _who_serves(self, name: str, before: LoadedModel | None) -> str:
        live = self.registry.live(name)
        if live is None:
            return "no version serves"
        return f"version {live.version} {'goes on serving' if live is before else 'serves instead'}"

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
            with suppress(VersionRefused, Draining):  # said in the log and in every version's state
                await self._aspired.bring_about(name, versions, retry=False)
            waits = [record.retry_at - time.monotonic() for record in self.registry.records(name) if record.retry_at]
            return max(0.0, min(waits)) if waits else None

    async def unload(self, name: str, *, timeout_s: float) -> None:
        """Stop serving a model: finish the requests that hold it within ``timeout_s``, fail the rest, free it.

        It stays unloaded until ``load``.

        Raises:
            ModelNotFound: there is no such model.
        """
        self.registry.records(name)  # before a lock is made for the name
        async with self._locks[name]:
            records = self.registry.records(name)
            self._unloaded.add(name)
            self.registry.serve(name, None)
            self.registry.roll_out(name, None)
            reason = _why_unloaded(name)
            await asyncio.gather(*(self._loads.retire(name, record, reason, timeout_s) for record in records))

    async def promote(self, name: str, version: int) -> Promotion:
        """Let a version answer the requests that name none, once it is loaded.

        Raises:
            ModelNotFound, VersionNotFound: it is not in the repository.
            VersionRefused: it does not load, or serving.json is broken; nothing has changed. Or serving.json names it
                now and cannot be followed: the message says so, and which version answers.
            SettingsUnwritable: serving.json cannot be written; nothing has changed.
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
            VersionRefused, SettingsUnwritable: see ``promote``.
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
        await self._ensure_loaded(name, version)
        try:
            promotion = await asyncio.to_thread(write)
        except (OSError, VersionRefused) as error:
            if name not in self._unloaded:
                with suppress(VersionRefused):  # what is loaded for nothing goes again
                    await self._aspired.bring_about(name, versions, retry=False)
            if isinstance(error, OSError):
                raise unwritable(name, error) from error
            raise
        await self._follow_promotion(name, version, versions)
        log.info("model %s: version %d is stable, before it was %s", name, version, promotion.before)
        return promotion

    async def prepare(self, name: str, version: int) -> None:
        """Load a version that is to become stable: the first half of a promotion that somebody else writes down.

        Raises:
            VersionRefused: it does not load.
        """
        async with self._locks[name]:
            await self._ensure_loaded(name, version)

    async def settle(self, name: str, version: int) -> None:
        """Follow a promotion of that version, which is written down by now.

        Raises:
            VersionRefused: see ``promote``.
        """
        found = await self._on_disk(name)
        async with self._locks[name]:
            await self._follow_promotion(name, version, found)

    async def _follow_promotion(self, name: str, version: int, versions: list[int]) -> None:
        self._unloaded.discard(name)
        before = self.registry.live(name)
        try:
            await self._aspired.bring_about(name, versions, retry=False)
        except VersionRefused as error:
            if (live := self.registry.live(name)) is None or live.version != version:
                raise VersionRefused(
                    f"serving.json of model {name!r} says now that version {version} is stable, and cannot be "
                    f"followed: {error.message}; {self._who_serves(name, before)}"
                ) from error

    async def _ensure_loaded(self, name: str, version: int) -> None:
        if self.registry.enter(name, version).model is not None:
            return
        policy = await asyncio.to_thread(self.repository.policy, name)
        if await self._loads.attempt(name, version, policy) is None:
            reason = self.registry.record(name, version).reason
            raise VersionRefused(f"model {name!r} version {version} does not become stable: {reason}")

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
        if version is None:
            policy = await self._aspired.policy(name, found[name])
            wanted = [policy.version_labels[STABLE]] if policy.version_labels.get(STABLE) in found[name] else []
            wanted += policy.candidates(found[name])[0]
        else:
            policy, wanted = await asyncio.to_thread(self.repository.policy, name), [version]
        for candidate in wanted:
            if (model := await self._loads.attempt(name, candidate, policy)) is not None:
                self.registry.serve(name, model)
                break


def _why_unloaded(name: str) -> str:
    return f"unloaded; POST /v2/repository/models/{name}/load loads it"
