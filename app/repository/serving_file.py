"""Changes single keys of a serving.json, all or nothing."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from app.contract.files.regular import read_file
from app.contract.files.replacing import write_whole
from app.errors import VersionNotFound, VersionRefused
from app.repository.copies import refuse_in_copy
from app.repository.missing import no_version
from app.repository.places import Place
from app.repository.policy import CANARY, POLICY_FILE, POLICY_LIMIT_BYTES, STABLE, ServingPolicy
from app.repository.policy_file import read_policy

# Number of promotions that can be rolled back.
HISTORY = 20


@dataclass(frozen=True, slots=True)
class Promotion:
    """A change of the default version.

    Attributes:
        name: model.
        version: the default version from now on.
        before: the default version until now; None if there was none.
    """

    name: str
    version: int
    before: int | None


def write_batching(model_directory: Path, values: Mapping[str, Any]) -> Path:
    """Set keys of ``batching`` in a model's serving.json; every other key stays. Creates the file if it does not exist.

    Args:
        model_directory: contains the version directories.
        values: key of ``BatchingPolicy`` -> JSON value.

    Returns:
        The file written; where serving.json is a link, what it points to.

    Raises:
        VersionRefused: the file is invalid, or would be; it is left as it was.
        Forbidden: the directory is a copy of models at a URL.
        OSError: it cannot be written; it is left as it was.
    """
    refuse_in_copy(model_directory)
    return change(model_directory, lambda document, _: {"batching": document.get("batching", {}) | values})


def promote(place: Place, version: int, *, default: int | None, versions: Sequence[int]) -> Promotion:
    """Give a version the label "stable"; the canary, if it is that one, loses its label.

    Args:
        place: of the model.
        version: the default version from now on.
        default: the default version in effect; None if it is not known: see ``default_by_files``.
        versions: on the disk, newest first.

    Raises:
        VersionNotFound: it is not on the disk.
        VersionRefused, OSError: see ``write_batching``.
    """
    if version not in versions:
        raise no_version(place.name, version, versions)
    policy = read_policy(place.directory, place.stated)
    before = default if default is not None else default_by_files(policy, versions)
    promoted = policy.promoted
    if before is not None and before != version and promoted[-1:] != (before,):
        promoted = (*promoted, before)
    _make_stable(place, version, promoted[-HISTORY:])
    return Promotion(place.name, version, before)


def rollback(place: Place, *, default: int | None, versions: Sequence[int]) -> Promotion:
    """Undo the last promotion; without one, give the label "stable" to the next older version.

    A promotion that is not in effect is undone too: the default version becomes stable.

    Args:
        place, default, versions: see ``promote``.

    Raises:
        VersionNotFound: there is no earlier version.
        VersionRefused, OSError: see ``write_batching``.
    """
    now, version, promoted = _previous(place, default, versions)
    _make_stable(place, version, promoted)
    return Promotion(place.name, version, now)


def rollback_target(place: Place, *, default: int | None, versions: Sequence[int]) -> int:
    """The version that ``rollback`` would go back to; raises as it does."""
    return _previous(place, default, versions)[1]


def default_by_files(policy: ServingPolicy, versions: Sequence[int]) -> int | None:
    """The default version according to the files, which do not show which versions load; None without versions."""
    candidates, _ = policy.candidates(versions)
    return policy.version_labels.get(STABLE, candidates[0] if candidates else None)


def _previous(place: Place, default: int | None, versions: Sequence[int]) -> tuple[int | None, int, Sequence[int]]:
    """The default version, the one to go back to, and the promotions that can still be rolled back then."""
    policy = read_policy(place.directory, place.stated)
    now = default if default is not None else default_by_files(policy, versions)
    promoted = [version for version in policy.promoted if version in versions]
    while promoted[-1:] == [now]:
        promoted.pop()
    if now is not None and now in versions and policy.version_labels.get(STABLE, now) != now:
        return now, now, promoted
    if promoted:
        return now, promoted[-1], promoted[:-1]
    if older := [version for version in versions if now is not None and version < now]:
        return now, older[0], []
    raise VersionNotFound(
        f"cannot roll back model {place.name!r}: no version was the default before version {now}, and none is older"
    )


def _make_stable(place: Place, version: int, promoted: Sequence[int]) -> None:
    """Give a version the label "stable", and let a canary that was halted start again."""

    def relabelled(document: dict[str, Any], policy: ServingPolicy) -> dict[str, Any]:
        before = labels_in_effect(place, document, policy)
        labels = {STABLE: version} | {label: each for label, each in before.items() if label != STABLE}
        if labels.get(CANARY) == version:
            del labels[CANARY]
        changed = {"version_labels": labels, "promoted": promoted}
        if "rollout" in document:
            changed["rollout"] = {key: value for key, value in document["rollout"].items() if key != "halted"}
        return changed

    change(place.directory, relabelled)


def labels_in_effect(place: Place, document: Mapping[str, Any], policy: ServingPolicy) -> Mapping[str, int]:
    """The labels in effect: those of the file, or else of models.config."""
    stated: Mapping[str, int] = place.stated.get("version_labels", {})
    return policy.version_labels if "version_labels" in document else stated


def change(model_directory: Path, new_keys: Callable[[dict[str, Any], ServingPolicy], Mapping[str, Any]]) -> Path:
    """Write the keys that ``new_keys`` gives for the document and its policy; other keys stay.

    A reader sees the old file or the new one, never a part of either. Returns and raises as ``write_batching``.
    """
    path, data = _read(model_directory)
    policy = ServingPolicy.parse(path, data)
    document = json.loads(data)
    document.update(new_keys(document, policy))
    text = json.dumps(document, indent=2, ensure_ascii=False) + "\n"
    try:
        ServingPolicy.model_validate_json(text)
    except ValidationError as error:
        raise VersionRefused(f"{path}: left as it is: with the new values, {error.errors()[0]['msg']}") from error
    write_whole(path, text.encode())
    return path


def _read(model_directory: Path) -> tuple[Path, bytes]:
    """The path of serving.json, with links resolved, and its document; empty if it does not exist."""
    path = model_directory / POLICY_FILE
    try:
        data = read_file(path, POLICY_LIMIT_BYTES)
    except FileNotFoundError:
        data = b"{}"
    return path.resolve(), data
