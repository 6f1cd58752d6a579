"""Which versions of which models are there, in which state, and which one answers."""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum

from app.errors import Draining, ModelNotFound, ModelNotReady, ServingError, VersionNotFound, VersionRefused
from app.repository.policy import ServingPolicy
from app.serving.model import LoadedModel

log = logging.getLogger("atelier.registry")

# A version that the policy no longer wants may finish the requests that hold it for this long.
RETIRE_TIMEOUT_S = 60.0


class State(StrEnum):
    """State of a version; words of Triton's repository extension."""

    LOADING = "LOADING"
    READY = "READY"
    UNLOADING = "UNLOADING"
    UNAVAILABLE = "UNAVAILABLE"


@dataclass(slots=True)
class VersionRecord:
    """One version that the registry knows of.

    Attributes:
        version: its number.
        state: where it stands.
        reason: why it is unavailable; empty otherwise.
        model: set while READY.
    """

    version: int
    state: State
    reason: str = ""
    model: LoadedModel | None = None


class Registry:
    """Models, their versions and states. The newest version that loads answers requests that name none.

    Args:
        scan: lists model name -> versions, newest first.
        policy: serving.json of a model.
        load: loads one version; blocks.
        on_state: is told of every change of state (model, version, state).
    """

    def __init__(
        self,
        *,
        scan: Callable[[], Mapping[str, list[int]]],
        policy: Callable[[str], ServingPolicy],
        load: Callable[[str, int], LoadedModel],
        on_state: Callable[[str, int, State], None],
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
            log.error("no model version could be loaded")

    async def load(self, name: str) -> None:
        """Load what the policy of one model asks for, from what is on disk now; versions that serve stay loaded.

        New versions serve before those that the policy no longer wants stop.

        Raises:
            ModelNotFound: it is not in the repository.
            Draining: the service is shutting down.
            VersionRefused: the newest version asked for is refused; says why, and what serves instead.
        """
        if self.draining:
            raise Draining("the service is shutting down")
        found = await asyncio.to_thread(self._scan)
        if name not in found:
            raise _no_model(name, found)
        async with self._locks[name]:
            await self._follow_policy(name, found[name])
            newest = self.records(name)[0]
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
            await asyncio.gather(*(self._retire(name, record, timeout_s) for record in records))

    async def _follow_policy(self, name: str, versions: list[int]) -> None:
        """Load what is wanted and not there, then retire what is there and not wanted; raises if the policy breaks."""
        try:
            policy = await asyncio.to_thread(self._policy, name)
        except VersionRefused as error:
            log.error("model %s: %s", name, error.message)
            for version in versions:
                self._refuse(name, version, error.message)
            raise
        candidates, wanted = policy.version_policy.choose(versions)
        ready: list[LoadedModel] = []
        for version in candidates:
            known = self._records.get(name, {}).get(version)
            model = known.model if known is not None else None
            model = model or await self._try(name, version)
            if model is not None:
                ready.append(model)
                self._serving.setdefault(name, model)  # others may take a while to load
            if len(ready) == wanted:
                break
        if not ready:
            return
        self._labels[name] = policy.version_labels
        self._serving[name] = ready[0]
        chosen = {model.version for model in ready}
        surplus = [record for record in self.records(name) if record.model and record.version not in chosen]
        await asyncio.gather(*(self._retire(name, record, RETIRE_TIMEOUT_S) for record in surplus))

    async def _retire(self, name: str, record: VersionRecord, timeout_s: float) -> None:
        """Let the requests that hold a version finish, then free it."""
        model = record.model
        if model is None:
            if record.state is State.READY:
                self._set(name, record, State.UNAVAILABLE)
            return
        record.model = None
        record.reason = "unloading"
        self._set(name, record, State.UNLOADING)
        try:
            await asyncio.wait_for(model.leases.ended(), timeout_s)
        except TimeoutError:
            log.warning("model %s version %d: requests did not finish within %g s", name, record.version, timeout_s)
        model.admission.draining = True
        model.batcher.fail_unfinished()
        await asyncio.to_thread(model.batcher.close)
        record.reason = "unloaded"
        self._set(name, record, State.UNAVAILABLE)
        log.info("model %s version %d unloaded", name, record.version)

    def _refuse(self, name: str, version: int, reason: str) -> None:
        record = self._records.setdefault(name, {}).setdefault(version, VersionRecord(version, State.UNAVAILABLE))
        if record.model is None:
            record.reason = reason
            self._set(name, record, State.UNAVAILABLE)

    async def load_one(self, name: str, version: int | None) -> None:
        """Load one model only: ``version``, or the newest that is not refused.

        Raises:
            ModelNotFound, VersionNotFound: it is not in the repository.
        """
        found = await asyncio.to_thread(self._scan)
        if name not in found:
            raise _no_model(name, found)
        if version is not None and version not in found[name]:
            raise _no_version(name, version, found[name])
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
            known = f"labels: {', '.join(labels)}" if labels else f"versions: {_list(versions)}"
            raise VersionNotFound(f"model {name!r} has no label {label!r}; it has {known}")
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
            raise _no_model(name, self.names())
        return sorted(self._records[name].values(), key=lambda record: -record.version)

    def record(self, name: str, version: int) -> VersionRecord:
        """One known version of a model.

        Raises:
            ModelNotFound, VersionNotFound: there is no such thing.
        """
        record = self._records.get(name, {}).get(version)
        if record is None:
            raise _no_version(name, version, [known.version for known in self.records(name)])
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


def _no_model(name: str, known: Iterable[str]) -> ModelNotFound:
    return ModelNotFound(f"model {name!r} is not in the repository; models: {', '.join(known) or 'none'}")


def _no_version(name: str, version: int, known: Iterable[int]) -> VersionNotFound:
    """In TensorFlow Serving's words, and which versions there are."""
    return VersionNotFound(f"Could not find version {version} of model {name}; known versions: {_list(known)}")


def _list(versions: Iterable[int]) -> str:
    return ", ".join(map(str, sorted(versions)))
