"""Which versions of which models are there, in which state, and which one answers."""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress

from app.errors import Draining, ModelNotReady, ServingError, VersionNotFound, VersionRefused
from app.repository.policy import BatchingPolicy, ServingPolicy
from app.serving.model import LoadedModel
from app.serving.versions import State, VersionRecord, listed, no_model, no_version

log = logging.getLogger("atelier.registry")

# A version that the policy no longer wants may finish the requests that hold it for this long.
RETIRE_TIMEOUT_S = 60.0


class Registry:
    """Models, their versions and states. The newest version that loads answers requests that name none.

    Args:
        scan: lists model name -> versions, newest first.
        policy: serving.json of a model.
        load: loads one version; blocks.
        on_state: is told of every change of state (model, version, state); None says that the version is gone.
    """

    def __init__(
        self,
        *,
        scan: Callable[[], Mapping[str, list[int]]],
        policy: Callable[[str], ServingPolicy],
        load: Callable[[str, int], LoadedModel],
        on_state: Callable[[str, int, State | None], None],
    ) -> None:
        self._scan = scan
        self._policy = policy
        self._load = load
        self._on_state = on_state
        self._records: dict[str, dict[int, VersionRecord]] = {}
        self._serving: dict[str, LoadedModel] = {}
        self._labels: dict[str, dict[str, int]] = {}
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._loaded_once = False
        self.draining = False

    async def load_all(self) -> None:
        """Load what the policy of every model asks for."""
        for name, versions in (await asyncio.to_thread(self._scan)).items():
            async with self._locks[name]:
                with suppress(VersionRefused):  # said in the log and in every version's state
                    await self._follow_policy(name, versions)
        self._loaded_once = True
        if self._serving:
            log.info("ready: %d of %d models serve", len(self._serving), len(self._records))
        else:
            log.error("no model version could be loaded: %s", self._why_none())

    async def load(self, name: str) -> None:
        """Load what the policy of one model asks for, from what is on disk now; versions that serve stay loaded.

        New versions serve before those that the policy no longer wants stop; versions whose batching serving.json has
        changed are loaded anew and take the place of the old ones likewise.

        Raises:
            ModelNotFound: it is not in the repository.
            Draining: the service is shutting down.
            VersionRefused: the newest version asked for is refused; says why, and what serves instead.
        """
        if self.draining:
            raise Draining("the service is shutting down")
        found = await asyncio.to_thread(self._scan)
        if name not in found:
            raise no_model(name, found)
        async with self._locks[name]:
            newest = await self._follow_policy(name, found[name])
            if newest.state is not State.READY:
                serving = self._serving.get(name)
                instead = f"version {serving.version} serves" if serving is not None else "no version serves"
                raise VersionRefused(f"model {name!r} version {newest.version} refused: {newest.reason}; {instead}")

    async def unload(self, name: str, *, timeout_s: float) -> None:
        """Stop serving a model: finish the requests that hold it within ``timeout_s``, fail the rest, free it.

        It stays unloaded until ``load``.

        Raises:
            ModelNotFound: there is no such model.
        """
        async with self._locks[name]:
            records = self.records(name)
            self._serving.pop(name, None)
            reason = f"unloaded; POST /v2/repository/models/{name}/load loads it"
            await asyncio.gather(*(self._retire(name, record, reason, timeout_s) for record in records))

    async def _follow_policy(self, name: str, versions: list[int]) -> VersionRecord:
        """Load what is wanted and not there, then retire what is there and not wanted.

        Returns:
            The newest version that is wanted, loaded or refused.

        Raises:
            VersionRefused: serving.json is broken, or wants only versions that are not there.
        """
        self._forget(name, versions)
        try:
            policy = await asyncio.to_thread(self._policy, name)
            candidates, wanted = policy.version_policy.choose(versions)
            if not candidates:
                raise VersionRefused(
                    f"serving.json of model {name!r}: version_policy.specific names none of the versions in the "
                    f"repository: {listed(versions)}"
                )
        except VersionRefused as error:
            log.error("model %s: %s", name, error.message)
            for version in versions:
                self._refuse(name, version, error.message)
            raise
        ready: list[LoadedModel] = []
        for version in candidates:
            model = await self._load_or_keep(name, version, policy.batching)
            if model is not None:
                ready.append(model)
                self._serving.setdefault(name, model)  # others may take a while to load
            if len(ready) == wanted:
                break
        if ready:
            self._serving[name] = ready[0]
            chosen = {model.version for model in ready}
            surplus = [record for record in self.records(name) if record.model and record.version not in chosen]
            reason = "unloaded: version_policy asks for other versions"
            await asyncio.gather(*(self._retire(name, record, reason, RETIRE_TIMEOUT_S) for record in surplus))
        self._labels[name] = policy.version_labels
        for label, version in policy.version_labels.items():
            if all(model.version != version for model in ready):
                log.warning("model %s: label %r names version %d, which does not serve", name, label, version)
        return self._records[name][candidates[0]]

    def _forget(self, name: str, versions: list[int]) -> None:
        """Drop what is known of versions that neither serve nor lie on the disk any more."""
        known = self._records.get(name, {})
        for version in [v for v, record in known.items() if v not in versions and record.model is None]:
            del known[version]
            self._on_state(name, version, None)

    async def _load_or_keep(self, name: str, version: int, batching: BatchingPolicy) -> LoadedModel | None:
        """The version as it serves, if it was loaded with these settings; else loaded now. None if it is refused."""
        known = self._records.get(name, {}).get(version)
        old = known.model if known is not None else None
        if old is None:
            return await self._try(name, version)
        if old.batching == batching:
            return old
        try:
            new = await asyncio.to_thread(self._load, name, version)
        except ServingError as error:
            log.error("model %s version %d goes on as it was: %s", name, version, error.message)
            raise VersionRefused(f"{error.message}; version {version} goes on serving as it was") from error
        assert known is not None
        known.model = new
        if self._serving.get(name) is old:
            self._serving[name] = new
        await self._free(name, old, RETIRE_TIMEOUT_S)
        log.info("model %s version %d loaded anew: its batching has changed", name, version)
        return new

    async def _retire(self, name: str, record: VersionRecord, reason: str, timeout_s: float) -> None:
        """Let the requests that hold a version finish, then free it."""
        model = record.model
        if model is None:
            return
        record.model = None
        record.reason = "unloading"
        self._set(name, record, State.UNLOADING)
        await self._free(name, model, timeout_s)
        record.reason = reason
        self._set(name, record, State.UNAVAILABLE)
        log.info("model %s version %d unloaded", name, record.version)

    async def _free(self, name: str, model: LoadedModel, timeout_s: float) -> None:
        try:
            await asyncio.wait_for(model.leases.ended(), timeout_s)
        except TimeoutError:
            log.warning("model %s version %d: requests did not finish within %g s", name, model.version, timeout_s)
        model.admission.draining = True
        model.batcher.fail_unfinished()
        await asyncio.to_thread(model.batcher.close)

    def _refuse(self, name: str, version: int, reason: str) -> None:
        record = self._records.setdefault(name, {}).setdefault(version, VersionRecord(version, State.UNAVAILABLE))
        if record.model is None:
            record.reason, record.refused = reason, True
            self._set(name, record, State.UNAVAILABLE)

    async def load_one(self, name: str, version: int | None) -> None:
        """Load one model only: ``version``, or the newest that is not refused.

        Raises:
            ModelNotFound, VersionNotFound: it is not in the repository.
        """
        found = await asyncio.to_thread(self._scan)
        if name not in found:
            raise no_model(name, found)
        if version is not None and version not in found[name]:
            raise no_version(name, version, found[name])
        for candidate in [version] if version is not None else found[name]:
            if (model := await self._try(name, candidate)) is not None:
                self._serving[name] = model
                break

    async def _try(self, name: str, version: int) -> LoadedModel | None:
        record = VersionRecord(version, State.LOADING)
        self._records.setdefault(name, {})[version] = record
        self._set(name, record, State.LOADING)
        try:
            record.model = await asyncio.to_thread(self._load, name, version)
        except ServingError as error:
            record.reason = error.message
            log.error("model %s version %d refused: %s", name, version, error.message)
        except Exception as error:
            record.reason = f"loading failed: {error}"
            log.exception("model %s version %d failed to load", name, version)
        if record.model is None:
            record.refused = True
            self._set(name, record, State.UNAVAILABLE)
            return None
        self._set(name, record, State.READY)
        log.info(
            "model %s version %d ready on %s, golden difference %.2g, %.0f us alone",
            name,
            version,
            record.model.provider,
            record.model.golden_difference,
            record.model.curve.seconds[0] * 1e6,
        )
        return record.model

    def get(self, name: str, version: int | None = None, label: str | None = None) -> LoadedModel:
        """The version that answers a request.

        Args:
            name: model name.
            version: a specific version; None takes the one that serves.
            label: a version label; not together with a version.

        Raises:
            ModelNotFound, VersionNotFound: there is no such thing.
            ModelNotReady: it is there and does not serve.
        """
        if version is None and label is None and (serving := self._serving.get(name)) is not None:
            return serving
        records = self.records(name)
        if label is not None:
            version = self.labelled(name, label)
        if version is None:
            states = "; ".join(f"version {r.version} is {r.state}: {r.reason}".rstrip(": ") for r in records)
            raise ModelNotReady(f"model {name!r} has no version that serves ({states})")
        record = self.record(name, version)
        if record.model is None:
            raise ModelNotReady(f"model {name!r} version {version} is {record.state}: {record.reason}".rstrip(": "))
        return record.model

    def labelled(self, name: str, label: str) -> int:
        """The version that a label names.

        Raises:
            ModelNotFound, VersionNotFound: there is no such thing.
        """
        versions = [record.version for record in self.records(name)]
        labels = self._labels.get(name, {})
        if label not in labels:
            known = f"labels: {', '.join(labels)}" if labels else "no labels: version_labels in serving.json sets them"
            raise VersionNotFound(f"model {name!r} has no label {label!r}; it has {known}")
        if labels[label] not in versions:
            raise VersionNotFound(
                f"label {label!r} of model {name!r} names version {labels[label]}; known versions: {listed(versions)}"
            )
        return labels[label]

    async def index(self) -> list[tuple[str, list[VersionRecord]]]:
        """Every model of the repository, sorted, with its known versions, newest first; also what is not loaded."""
        found = await asyncio.to_thread(self._scan)
        models = []
        for name in sorted({*found, *self._records}):
            known = self._records.get(name, {})
            unknown = [VersionRecord(v, State.UNAVAILABLE, "not loaded") for v in found.get(name, []) if v not in known]
            models.append((name, sorted([*known.values(), *unknown], key=lambda record: -record.version)))
        return models

    def names(self) -> list[str]:
        """All model names, sorted."""
        return sorted(self._records)

    def records(self, name: str) -> list[VersionRecord]:
        """Every known version of a model, newest first.

        Raises:
            ModelNotFound: there is no such model.
        """
        if name not in self._records:
            raise no_model(name, self.names())
        return sorted(self._records[name].values(), key=lambda record: -record.version)

    def record(self, name: str, version: int) -> VersionRecord:
        """One known version of a model.

        Raises:
            ModelNotFound, VersionNotFound: there is no such thing.
        """
        record = self._records.get(name, {}).get(version)
        if record is None:
            raise no_version(name, version, [known.version for known in self.records(name)])
        return record

    @property
    def not_ready_reason(self) -> str | None:
        """Why requests should go elsewhere; None when ready."""
        if self.draining:
            return "the service is shutting down"
        if not self._loaded_once:
            return "models are loading"
        if not self._serving:
            return "no model version could be loaded; see the log"
        return None

    def _why_none(self) -> str:
        reasons = [f"{name} {r.version}: {r.reason}" for name in self.names() for r in self.records(name) if r.reason]
        return "; ".join(reasons) or "the models directory holds no NAME/VERSION/ with a manifest.json"

    def start_draining(self) -> None:
        """Report not ready from now on; requests that arrive all the same are still answered."""
        self.draining = True

    async def drain(self, timeout_s: float) -> None:
        """Take no new work, finish what waits and runs within ``timeout_s``, fail the rest, close."""
        self.start_draining()
        for model in self._models():
            model.admission.draining = True
        waiting = [asyncio.ensure_future(model.batcher.drained()) for model in self._models()]
        if waiting:
            _, late = await asyncio.wait(waiting, timeout=timeout_s)
            for task in late:
                task.cancel()
        for model in self._models():
            model.batcher.close()

    def fail_unfinished(self) -> None:
        """Answer all work that waits or runs with Draining."""
        for model in self._models():
            model.admission.draining = True
            model.batcher.fail_unfinished()

    def _models(self) -> Iterator[LoadedModel]:
        for records in self._records.values():
            for record in records.values():
                if record.model is not None:
                    yield record.model

    def _set(self, name: str, record: VersionRecord, state: State) -> None:
        record.state = state
        self._on_state(name, record.version, state)
