"""Which versions of which models are there, in which state, and which one answers."""

import asyncio
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

from app.errors import ModelNotFound, ModelNotReady, ServingError, VersionNotFound
from app.serving.model import LoadedModel

log = logging.getLogger("atelier.registry")


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
    """Models, their versions and states. The newest version that loads serves.

    Args:
        scan: lists model name -> versions, newest first.
        load: loads one version; blocks.
        on_state: is told of every change of state (model, version, state).
    """

    def __init__(
        self,
        *,
        scan: Callable[[], Mapping[str, list[int]]],
        load: Callable[[str, int], LoadedModel],
        on_state: Callable[[str, int, State], None],
    ) -> None:
        self._scan = scan
        self._load = load
        self._on_state = on_state
        self._records: dict[str, dict[int, VersionRecord]] = {}
        self._serving: dict[str, LoadedModel] = {}
        self._loaded_once = False
        self.draining = False

    async def load_all(self) -> None:
        """Load the newest version of every model, or the newest that is not refused."""
        for name, versions in (await asyncio.to_thread(self._scan)).items():
            for version in versions:
                if await self._try(name, version):
                    break
        self._loaded_once = True
        if self._serving:
            log.info("ready: %d of %d models serve", len(self._serving), len(self._records))
        else:
            log.error("no model version could be loaded")

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
            if await self._try(name, candidate):
                break

    async def _try(self, name: str, version: int) -> bool:
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
            return False
        self._serving[name] = record.model
        self._set(name, record, State.READY)
        log.info(
            "model %s version %d ready on %s, golden difference %.2g, %.0f us alone",
            name,
            version,
            record.model.provider,
            record.model.golden_difference,
            record.model.curve.seconds[0] * 1e6,
        )
        return True

    def get(self, name: str, version: int | None = None, label: str | None = None) -> LoadedModel:
        """The version that answers a request.

        Args:
            name: model name.
            version: a specific version; None takes the one that serves.
            label: a version label.

        Raises:
            ModelNotFound, VersionNotFound: there is no such thing.
            ModelNotReady: it is there and does not serve.
        """
        if version is None and label is None and (serving := self._serving.get(name)) is not None:
            return serving
        records = self.records(name)
        if label is not None:
            raise VersionNotFound(
                f"model {name!r} has no label {label!r}; name a version: {_list(self._records[name])}"
            )
        if version is None:
            reasons = "; ".join(f"version {r.version} is {r.state}: {r.reason}" for r in records)
            raise ModelNotReady(f"model {name!r} has no version that serves ({reasons.rstrip(': ')})")
        record = self.record(name, version)
        if record.model is None:
            raise ModelNotReady(f"model {name!r} version {version} is {record.state}: {record.reason}".rstrip(": "))
        return record.model

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
