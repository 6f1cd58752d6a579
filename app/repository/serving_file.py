"""Changes single keys of a serving.json, all or nothing."""

import json
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from app.contract.files.regular import read_file
from app.errors import VersionNotFound, VersionRefused
from app.repository.policy import CANARY, POLICY_FILE, POLICY_LIMIT_BYTES, STABLE, CanaryPair, ServingPolicy

# So many promotions can be rolled back.
HISTORY = 20


@dataclass(frozen=True, slots=True)
class Promotion:
    """Which version answers requests that name none.

    Attributes:
        name: model.
        version: from now on.
        before: until now.
    """

    name: str
    version: int
    before: int | None


def write_batching(model_directory: Path, values: Mapping[str, Any]) -> Path:
    """Set keys of ``batching`` in a model's serving.json; every other key stays. Makes the file if there is none.

    Args:
        model_directory: holds the version directories.
        values: key of ``BatchingPolicy`` -> JSON value.

    Returns:
        The file written; where serving.json is a link, what it points to.

    Raises:
        VersionRefused: the file is invalid, or would be; it is left as it was.
        OSError: it cannot be written; it is left as it was.
    """
    return _change(model_directory, lambda document, _: {"batching": document.get("batching", {}) | values})


def promote(model_directory: Path, version: int, *, versions: Sequence[int]) -> Promotion:
    """Give a version the label "stable"; the canary, if it is that one, loses its label.

    Args:
        model_directory: holds the version directories.
        version: to answer requests that name none.
        versions: that lie there, newest first.

    Raises:
        VersionNotFound: it does not lie there.
        VersionRefused, OSError: see ``write_batching``.
    """
    name = model_directory.name
    if version not in versions:
        raise VersionNotFound(f"model {name!r} has no version {version}; versions: {', '.join(map(str, versions))}")
    before = stable_version(ServingPolicy.read(model_directory), versions)

    def change(document: dict[str, Any], policy: ServingPolicy) -> dict[str, Any]:
        history = policy.promoted if before in {None, version} else (*policy.promoted, before)
        return {"version_labels": _labels(policy, version), "promoted": history[-HISTORY:], **_resumed(document)}

    _change(model_directory, change)
    return Promotion(name, version, before)


def rollback(model_directory: Path, *, versions: Sequence[int]) -> Promotion:
    """Give the label "stable" back to the version that had it before, or to the next older one if none had.

    Raises:
        VersionNotFound: there is no version to go back to.
        VersionRefused, OSError: see ``write_batching``.
    """
    version = rollback_target(model_directory, versions=versions)
    policy = ServingPolicy.read(model_directory)
    history = _history(policy, versions)[:-1]
    _change(
        model_directory,
        lambda document, _: {"version_labels": _labels(policy, version), "promoted": history, **_resumed(document)},
    )
    return Promotion(model_directory.name, version, stable_version(policy, versions))


def rollback_target(model_directory: Path, *, versions: Sequence[int]) -> int:
    """The version that ``rollback`` would go back to; raises as it does."""
    policy = ServingPolicy.read(model_directory)
    if history := _history(policy, versions):
        return history[-1]
    now = stable_version(policy, versions)
    if older := [version for version in versions if now is not None and version < now]:
        return older[0]
    raise VersionNotFound(f"model {model_directory.name!r} has no version to go back to from version {now}")


def _history(policy: ServingPolicy, versions: Sequence[int]) -> list[int]:
    """Versions promoted before, as far as they are still there, the last one last."""
    now = stable_version(policy, versions)
    return [version for version in policy.promoted if version in versions and version != now]


def halt(model_directory: Path, pair: CanaryPair, reason: str) -> bool:
    """Write down why a canary gets no more requests, unless the labels name other versions by now.

    Args:
        model_directory: holds the version directories.
        pair: the canary, and what it was compared with.
        reason: in words.

    Returns:
        Whether it is written: a canary that followed this one is not halted for it.

    Raises:
        VersionRefused, OSError: see ``write_batching``.
    """
    if not ServingPolicy.read(model_directory).compares(pair):
        return False
    _change(model_directory, lambda document, _: {"rollout": document.get("rollout", {}) | {"halted": reason}})
    return True


def _resumed(document: dict[str, Any]) -> dict[str, Any]:
    """The key ``rollout`` of a document, if it has one, without the reason for a halt."""
    if "rollout" not in document:
        return {}
    return {"rollout": {key: value for key, value in document["rollout"].items() if key != "halted"}}


def stable_version(policy: ServingPolicy, versions: Sequence[int]) -> int | None:
    """The version that answers requests that name none, as far as the files tell: they do not say what loads."""
    candidates, _ = policy.candidates(versions)
    return policy.version_labels.get(STABLE, candidates[0] if candidates else None)


def _labels(policy: ServingPolicy, stable: int) -> dict[str, int]:
    others = {label: version for label, version in policy.version_labels.items() if label != STABLE}
    if others.get(CANARY) == stable:
        del others[CANARY]
    return {STABLE: stable, **others}


def _change(model_directory: Path, change: Callable[[dict[str, Any], ServingPolicy], Mapping[str, Any]]) -> Path:
    """Write what ``change`` makes of the document and of what it means; other keys stay.

    A reader sees the old file or the new one, never a part of either.
    """
    path, data = _read(model_directory)
    policy = ServingPolicy.parse(path, data)
    document = json.loads(data)
    document.update(change(document, policy))
    text = json.dumps(document, indent=2, ensure_ascii=False) + "\n"
    try:
        ServingPolicy.model_validate_json(text)
    except ValidationError as error:
        raise VersionRefused(f"{path}: left as it is: with the new values, {error.errors()[0]['msg']}") from error
    write_whole(path, text.encode())
    return path


def _read(model_directory: Path) -> tuple[Path, bytes]:
    """Where serving.json is, behind a link if it is one, and what is in it; an empty document if there is none."""
    path = model_directory / POLICY_FILE
    try:
        data = read_file(path, POLICY_LIMIT_BYTES)
    except FileNotFoundError:
        data = b"{}"
    return path.resolve(), data


def write_whole(path: Path, data: bytes) -> None:
    """Write a temporary sibling, bring it to the disk, and let it take the file's place: all or nothing."""
    mode = path.stat().st_mode & 0o777 if path.exists() else 0o644
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    temporary = Path(name)
    try:
        with open(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fchmod(descriptor, mode)
            os.fsync(descriptor)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)  # so that the rename survives a power cut too
    finally:
        os.close(directory)
