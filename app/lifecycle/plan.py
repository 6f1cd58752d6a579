"""The next steps until a model serves as its serving.json specifies: pure and idempotent.

TensorFlow Serving demands the same of its version policies (``AspiredVersionPolicy::GetNextAction``): the next action
follows from the state alone, and there is no step once the state is the specified one.
"""

from collections.abc import Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass, field

from app.repository.policy import CANARY, STABLE, ServingPolicy
from app.repository.recording_policy import RecordingPolicy
from app.repository.rollout_policy import RolloutPolicy


@dataclass(frozen=True, slots=True)
class Record:
    """Record requests as the policy says; None: record none."""

    recording: RecordingPolicy | None


@dataclass(frozen=True, slots=True)
class Load:
    """Load a version with the settings of the policy, again if it is loaded with others. It may fail."""

    version: int


@dataclass(frozen=True, slots=True)
class ServeDefault:
    """Let a loaded version answer requests without a version."""

    version: int


@dataclass(frozen=True, slots=True)
class SetLabels:
    """Let labels name these versions."""

    labels: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class StartCanary:
    """Compare a loaded version with the default version."""

    default: int
    canary: int
    rollout: RolloutPolicy


@dataclass(frozen=True, slots=True)
class StopCanary:
    """End the comparison."""


@dataclass(frozen=True, slots=True)
class Retire:
    """Unload versions, once the requests that use them have finished."""

    versions: tuple[int, ...]


Step = Record | Load | ServeDefault | SetLabels | StartCanary | StopCanary | Retire


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """The state of one model in a process.

    Attributes:
        loaded: version -> the ``load_settings`` that it was loaded with.
        refused: versions that do not load.
        default: the version that answers requests without a version.
        labels: label -> version that it names.
        canary: the comparison that runs.
        recording: how its requests are recorded; None: they are not.
    """

    loaded: Mapping[int, Hashable] = field(default_factory=dict)
    refused: frozenset[int] = frozenset()
    default: int | None = None
    labels: Mapping[str, int] = field(default_factory=dict)
    canary: StartCanary | None = None
    recording: RecordingPolicy | None = None


def plan(policy: ServingPolicy, versions: Sequence[int], served: Served) -> list[Step]:
    """The next steps, in order.

    A change of the recording comes first: one that is switched off does not wait for a version that loads. The steps
    end with the first ``Load``: what follows depends on its outcome, so call again after it. A version that failed to
    load is then in ``served.refused``.

    Args:
        policy: serving.json of the model.
        versions: of the model on the disk, newest first.
        served: what the process serves.

    Returns:
        Nothing, once the model serves as the policy specifies, with the versions that load.
    """
    record = [Record(policy.recording)] if policy.recording != served.recording else []
    ready = frozenset(version for version, settings in served.loaded.items() if settings == policy.load_settings)
    default, load = _choose_default(policy, versions, served, ready)
    if load is None:
        load = next((each for each in _asked(policy, versions, ready) if each not in ready | served.refused), None)
    if load is not None:
        # While no version answers, the first one that can is used; the others may take a while to load.
        first = [ServeDefault(default)] if default is not None and served.default is None else []
        return [*record, *first, Load(load)]
    return [*record, *_switch(policy, served, default, ready.intersection(_asked(policy, versions, ready)))]


def expected(policy: ServingPolicy, versions: Sequence[int], refused: Collection[int]) -> set[int]:
    """The versions that the policy will load, if all load that are not known to be refused."""
    loadable = [version for version in versions if version not in refused]
    return set(_asked(policy, loadable, frozenset(loadable)))


def unmet(policy: ServingPolicy, versions: Sequence[int], served: Served) -> int | None:
    """The first version that the policy names, or that is the newest, and is not loaded; None if all serve."""
    asked = (*_labelled(policy, versions), *policy.candidates(versions)[0][:1])
    return next((version for version in asked if version not in served.loaded), None)


def _choose_default(
    policy: ServingPolicy, versions: Sequence[int], served: Served, ready: frozenset[int]
) -> tuple[int | None, int | None]:
    """The default version, or the version to load before it is known."""
    for version in _preferred(policy, versions, served.default):
        if version in ready:
            return version, None
        if version not in served.refused:
            return None, version
    return served.default, None


def _preferred(policy: ServingPolicy, versions: Sequence[int], default: int | None) -> list[int]:
    """Versions that may become the default version, the best first.

    If the stable version is refused, the default version stays. After a start, when there is no default version, it is
    the one that was stable before, or the newest.
    """
    labels, (candidates, _) = policy.version_labels, policy.candidates(versions)
    if STABLE not in labels:
        return candidates
    stable = [labels[STABLE]] if labels[STABLE] in versions else []
    if default is not None:
        return stable
    before = [each for each in reversed(policy.promoted) if each in versions and each != labels.get(CANARY)]
    return [*stable, *before, *candidates]


def _labelled(policy: ServingPolicy, versions: Sequence[int]) -> list[int]:
    """Versions on the disk that a label names, the stable one first."""
    labels = policy.version_labels
    return [labels[label] for label in (STABLE, *sorted(labels)) if labels.get(label) in versions]


def _asked(policy: ServingPolicy, versions: Sequence[int], ready: frozenset[int]) -> list[int]:
    """Versions to load, in this order: those with a label, and candidates until the required number is ready."""
    candidates, count = policy.candidates(versions)
    asked = []
    for version in candidates:
        if count == 0:
            break
        asked.append(version)
        count -= version in ready
    return [*_labelled(policy, versions), *asked]


def _switch(policy: ServingPolicy, served: Served, default: int | None, wanted: frozenset[int]) -> list[Step]:
    """From the serving to the specified versions, once all are loaded; none retires before its successor serves."""
    steps: list[Step] = []
    if default is not None and default != served.default:
        steps.append(ServeDefault(default))
    if policy.version_labels != served.labels:
        steps.append(SetLabels(policy.version_labels))
    canary = policy.version_labels.get(CANARY)
    running = None
    if default is not None and canary in wanted and canary != default:
        running = StartCanary(default, canary, policy.rollout)
    if running != served.canary:
        steps.append(running or StopCanary())
    surplus = served.loaded.keys() - wanted - {default}
    if default is not None and surplus:
        steps.append(Retire(tuple(sorted(surplus))))
    return steps
