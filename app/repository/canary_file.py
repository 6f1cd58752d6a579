"""Starts, stops and halts a canary in serving.json, all or nothing."""

from collections.abc import Mapping, Sequence
from typing import Any

from app.errors import InvalidInput, VersionNotFound
from app.repository.missing import no_version
from app.repository.places import Place
from app.repository.policy import CANARY, STABLE, ServingPolicy
from app.repository.policy_file import read_policy
from app.repository.rollout_policy import CanaryPair, RolloutPolicy
from app.repository.serving_file import change, default_by_files, labels_in_effect


def start(place: Place, version: int, rollout: Mapping[str, Mapping[str, Any]], *, versions: Sequence[int]) -> int:
    """Give a version the label "canary", with its share of the requests; a canary that was halted starts again.

    Args:
        place: of the model.
        version: the canary from now on.
        rollout: keys of ``RolloutPolicy`` with their values; those that the file has beside them stay.
        versions: on the disk, newest first.

    Returns:
        The version that it is compared with.

    Raises:
        VersionNotFound: it is not on the disk, or there is no other version to compare it with.
        InvalidInput: it is the stable version.
        VersionRefused, OSError: see ``write_batching``.
    """
    if version not in versions:
        raise no_version(place.name, version, versions)
    policy = read_policy(place.directory, place.stated)
    if policy.version_labels.get(STABLE) == version:
        raise InvalidInput(f"version {version} of model {place.name!r} is the stable one; a canary is another version")
    stable = default_by_files(policy, [each for each in versions if each != version])
    if stable is None:
        raise VersionNotFound(f"model {place.name!r} has no version besides {version} to compare a canary with")

    def new_keys(document: dict[str, Any], policy: ServingPolicy) -> dict[str, Any]:
        kept = {key: value for key, value in document.get("rollout", {}).items() if key != "halted"}
        changed = {key: kept.get(key, {}) | dict(values) for key, values in rollout.items()}
        labels = labels_in_effect(place, document, policy)
        return {"version_labels": {**labels, CANARY: version}, "rollout": kept | changed}

    change(place.directory, new_keys)
    return stable


def stop(place: Place, versions: Sequence[int]) -> tuple[int, int | None]:
    """Remove the label "canary" and the key ``rollout``.

    Without the label, the version may be the newest that serves: the one that was the default then gets the label
    "stable", so that it stays the default.

    Args:
        place: of the model.
        versions: on the disk, newest first.

    Returns:
        The version that was the canary, and the one that got the label "stable", if any did.

    Raises:
        VersionNotFound: there is no canary.
        VersionRefused, OSError: see ``write_batching``.
    """
    policy = read_policy(place.directory, place.stated)
    version = policy.version_labels.get(CANARY)
    if version is None:
        raise VersionNotFound(f"model {place.name!r} has no canary")
    before = default_by_files(policy, [each for each in versions if each != version])
    others = {label: each for label, each in policy.version_labels.items() if label != CANARY}
    after = default_by_files(policy.model_copy(update={"version_labels": others}), versions)
    kept = before if before is not None and after != before else None

    def new_keys(document: dict[str, Any], policy: ServingPolicy) -> dict[str, Any]:
        document.pop("rollout", None)
        labels = labels_in_effect(place, document, policy)
        rest = {label: each for label, each in labels.items() if label != CANARY}
        return {"version_labels": rest if kept is None else {**rest, STABLE: kept}}

    change(place.directory, new_keys)
    return version, kept


def halt(place: Place, pair: CanaryPair, reason: str, *, judged: RolloutPolicy) -> bool:
    """Record why a canary gets no more requests, unless the file has another canary or other limits by now.

    Args:
        place: of the model.
        pair: the canary, and what it was compared with.
        reason: in words.
        judged: the limits that it was judged by.

    Returns:
        Whether it is written: a canary that followed this one is not halted for it.

    Raises:
        VersionRefused, OSError: see ``write_batching``.
    """
    policy = read_policy(place.directory, place.stated)
    if not policy.compares(pair) or policy.rollout != judged:
        return False
    change(place.directory, lambda document, _: {"rollout": document.get("rollout", {}) | {"halted": reason}})
    return True
