"""The versions of all models, their states, and the default version of each model."""

import asyncio
from collections.abc import Callable, Iterator, Mapping

from app.errors import ModelNotReady, VersionNotFound
from app.lifecycle.asleep import Asleep
from app.lifecycle.versions import State, VersionRecord
from app.loaded import LoadedModel
from app.recording.recording import Recording
from app.repository.missing import listed, no_model, no_version
from app.rollout.canary import Rollout


class Registry:
    """Models, their versions and states, as requests and status routes see them; ``Lifecycle`` changes them.

    Args:
        scan: lists model name -> versions, newest first.
        on_state: called with (model, version, state) after every change of state; None: the version is removed.
    """

    def __init__(
        self, *, scan: Callable[[], Mapping[str, list[int]]], on_state: Callable[[str, int, State | None], None]
    ) -> None:
        self._scan = scan
        self._on_state = on_state
        self._records: dict[str, dict[int, VersionRecord]] = {}
        self._defaults: dict[str, LoadedModel] = {}
        self._labels: dict[str, dict[str, int]] = {}
        self._rollouts: dict[str, Rollout] = {}
        self._recordings: dict[str, Recording] = {}
        # Models whose requests are recorded now.
        self.recorded: dict[str, Recording] = {}
        # Models whose requests are answered one by one: a canary is compared, or they are recorded.
        self._one_by_one: set[str] = set()
        self.asleep = Asleep()
        self.loading = True
        # Why the first load has not begun; None once it has.
        self.loading_reason: Callable[[], str] | None = None
        # Other workers that take requests from the same port still load: a client that sees "ready" may reach one.
        self.others_load = False
        self.draining = False

    def default(self, name: str) -> LoadedModel | None:
        """The default version: it answers requests without a version."""
        return self._defaults.get(name)

    def defaults(self) -> list[LoadedModel]:
        """The default versions of all models."""
        return list(self._defaults.values())

    def only(self, name: str) -> LoadedModel | None:
        """The default version, if requests without a version may be answered together.

        None while a canary is compared, which may answer some of them, or while they are recorded.
        """
        return None if name in self._one_by_one else self._defaults.get(name)

    def set_default(self, name: str, model: LoadedModel | None) -> None:
        """Set the default version; None: the model has no default version."""
        if model is None:
            self._defaults.pop(name, None)
        else:
            self._defaults[name] = model

    def replace(self, name: str, old: LoadedModel, new: LoadedModel) -> None:
        """Replace a version that was loaded again: new requests use it."""
        if self._defaults.get(name) is old:
            self._defaults[name] = new
        if (rollout := self._rollouts.get(name)) is not None and (old is rollout.stable or old is rollout.canary):
            self.roll_out(name, rollout.with_new(old, new))

    def label(self, name: str, labels: Mapping[str, int]) -> None:
        """The labels of a model from now on."""
        self._labels[name] = dict(labels)

    def labels(self, name: str) -> Mapping[str, int]:
        """Label -> its version, serving or not."""
        return self._labels.get(name, {})

    def rollout(self, name: str) -> Rollout | None:
        """The canary that is compared with the default version."""
        return self._rollouts.get(name)

    def rollouts(self) -> list[Rollout]:
        """All comparisons of a canary."""
        return list(self._rollouts.values())

    def roll_out(self, name: str, rollout: Rollout | None) -> None:
        """Set the canary that is compared; None: the model has no canary."""
        old = self._rollouts.pop(name, None)
        if old is not None and old is not rollout:
            old.end()
        if rollout is not None:
            self._rollouts[name] = rollout
        self._note_one_by_one(name)

    def recording(self, name: str) -> Recording | None:
        """How requests of a model are recorded; None if serving.json does not mention it."""
        return self._recordings.get(name)

    def record_with(self, name: str, recording: Recording | None) -> None:
        """Record requests of a model from now on, or no longer."""
        for known in (self._recordings, self.recorded):
            known.pop(name, None)
        if recording is not None:
            self._recordings[name] = recording
            if recording.is_on:
                self.recorded[name] = recording
        self._note_one_by_one(name)

    def _note_one_by_one(self, name: str) -> None:
        if name in self._rollouts or name in self.recorded:
            self._one_by_one.add(name)
        else:
            self._one_by_one.discard(name)

    def refuses(self, name: str, version: int) -> bool:
        """Whether a version is known not to load."""
        record = self._records.get(name, {}).get(version)
        return record is not None and record.refused

    def models(self, name: str) -> dict[int, LoadedModel]:
        """The loaded versions of a model, by number."""
        records = self._records.get(name, {})
        return {version: record.model for version, record in records.items() if record.model is not None}

    def enter(self, name: str, version: int) -> VersionRecord:
        """The record of a version, made if it is not known yet."""
        return self._records.setdefault(name, {}).setdefault(version, VersionRecord(version, State.UNAVAILABLE))

    def set(self, name: str, record: VersionRecord, state: State, reason: str = "") -> None:
        """Change the state of a version."""
        record.state, record.reason = state, reason
        self._on_state(name, record.version, state)

    def forget(self, name: str, version: int) -> None:
        """Drop the record of a version; that of a model with its last version."""
        del self._records[name][version]
        if not self._records[name]:
            del self._records[name]
            self._labels.pop(name, None)
            self.record_with(name, None)
            self.asleep.remove(name)
        self._on_state(name, version, None)

    def get(self, name: str, version: int | None = None, label: str | None = None) -> LoadedModel:
        """The version that answers a request.

        Args:
            name: model name.
            version: a specific version; None takes the default version.
            label: a version label; not together with a version.

        Raises:
            ModelNotFound, VersionNotFound: it does not exist.
            ModelNotReady: it exists and does not serve.
        """
        if version is None and label is None and (default := self._defaults.get(name)) is not None:
            return default
        records = self.records(name)
        if label is not None:
            version = self.labelled(name, label)
        if version is None:
            raise ModelNotReady(f"model {name!r} has no version that serves ({_states(records)})")
        record = self.record(name, version)
        if record.model is None:
            raise _not_ready(name, record)
        return record.model

    async def wake(self, name: str, version: int | None) -> None:
        """Load a model that sleeps, for a request of that version; see ``Asleep.wake``.

        Raises:
            VersionNotFound: the version does not exist.
        """
        if name in self.asleep.names and (version is None or self.record(name, version).sleeps):
            await self.asleep.wake(name)

    async def described(self, name: str, version: int | None = None, label: str | None = None) -> LoadedModel:
        """As ``get``, for a question about the inputs; a model that sleeps is loaded first, if it may be."""
        if self.asleep.wakes_for_metadata:
            await self.wake(name, version)
        return self.get(name, version, label)

    def check_ready(self, name: str, version: int | None = None) -> None:
        """Raise unless a version can answer a request, or a request loads one; see ``get``.

        Raises:
            ModelNotReady: or no backend of it can run a batch.
        """
        if name in self.asleep.names:
            if version is not None and not (record := self.record(name, version)).sleeps:
                raise _not_ready(name, record)
            return
        model = self.get(name, version)
        if problem := model.instances.problem:
            raise ModelNotReady(f"model {name!r} version {model.version}: {problem}")

    def is_ready(self, name: str) -> bool:
        """Whether the model has a default version, or loads one with the next request."""
        default = self._defaults.get(name)
        return name in self.asleep.names if default is None else not default.instances.problem

    def labelled(self, name: str, label: str) -> int:
        """The version that a label names.

        Raises:
            ModelNotFound, VersionNotFound: it does not exist.
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
        """Every model of the repository, sorted, with its known versions, newest first, loaded or not."""
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
            ModelNotFound: the model does not exist.
            ModelNotReady: it is not known yet, at the start.
        """
        if name not in self._records:
            if self.loading:
                raise ModelNotReady(f"models are loading, and model {name!r} is not loaded yet; try again")
            raise no_model(name, self.names())
        return sorted(self._records[name].values(), key=lambda record: -record.version)

    def record(self, name: str, version: int) -> VersionRecord:
        """One known version of a model.

        Raises:
            ModelNotFound, VersionNotFound: it does not exist.
        """
        record = self._records.get(name, {}).get(version)
        if record is None:
            raise no_version(name, version, [known.version for known in self.records(name)])
        return record

    def start_draining(self) -> None:
        """Report not ready from now on; requests that still arrive are answered."""
        self.draining = True

    def has(self, model: LoadedModel) -> bool:
        """Whether a version, or the version of a signature, is loaded and neither unloading nor replaced."""
        record = self._records.get(model.name, {}).get(model.version)
        return (
            record is not None
            and record.model is not None
            and any(each is model for each in record.model.with_signatures)
        )

    def loaded(self) -> list[LoadedModel]:
        """Every version that is loaded, whether it is the default version or not."""
        return sorted(self._models(), key=lambda model: (model.name, model.version))

    def _models(self) -> Iterator[LoadedModel]:
        for records in self._records.values():
            for record in records.values():
                if record.model is not None:
                    yield record.model


def _not_ready(name: str, record: VersionRecord) -> ModelNotReady:
    return ModelNotReady(f"model {name!r} version {record.version} is {record.state}: {record.reason}".rstrip(": "))


def _states(records: list[VersionRecord]) -> str:
    """The states of all versions; versions with the same state and reason together."""
    alike: dict[str, list[int]] = {}
    for record in records:
        alike.setdefault(f"{record.state}: {record.reason}".rstrip(": "), []).append(record.version)
    return "; ".join(
        f"version {versions[0]} is {state}" if len(versions) == 1 else f"versions {listed(versions)} are {state}"
        for state, versions in alike.items()
    )
