"""The last valid serving.json of a model, kept next to the file and used while it is broken."""

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from app.contract.files.regular import read_file
from app.contract.files.replacing import write_whole
from app.errors import VersionRefused
from app.repository.policy import POLICY_FILE, POLICY_LIMIT_BYTES, ServingPolicy
from app.repository.policy_file import read_policy

# A name with a dot: neither scanned nor watched, and part of no version.
LAST_VALID_FILE = ".serving.last-good.json"


def remember(model_directory: Path, policy: ServingPolicy) -> None:
    """Keep a policy that is followed; written only if it differs from the kept one.

    Without a serving.json nothing is kept, and an earlier copy is removed.

    Raises:
        OSError: it cannot be written; what was kept stays.
    """
    path = model_directory / LAST_VALID_FILE
    if not (model_directory / POLICY_FILE).exists():
        if path.exists():  # on a read-only mount, removing a missing file fails too
            path.unlink(missing_ok=True)
        return
    try:
        kept = read_file(path, POLICY_LIMIT_BYTES)
    except (FileNotFoundError, VersionRefused):
        kept = None  # something else at this path, such as a FIFO, is replaced
    data = (policy.model_dump_json(exclude_unset=True, indent=2) + "\n").encode()
    if kept != data:
        write_whole(path, data)


def last_valid(model_directory: Path) -> ServingPolicy | None:
    """The kept policy; None if there is no copy, or it cannot be read."""
    try:
        path = model_directory / LAST_VALID_FILE
        return ServingPolicy.parse(path, read_file(path, POLICY_LIMIT_BYTES))
    except (OSError, VersionRefused):
        return None


def policy_in_effect(
    model_directory: Path,
    elsewhere: Mapping[str, Any] = MappingProxyType({}),
    *,
    on_mistake: Callable[[VersionRefused], None] = lambda error: None,
) -> ServingPolicy:
    """serving.json; while it is broken, the last valid one; without one, the defaults.

    Args:
        model_directory: contains the version directories.
        elsewhere: see ``read_policy``.
        on_mistake: called with what is wrong in serving.json.
    """
    try:
        return read_policy(model_directory, elsewhere)
    except VersionRefused as error:
        on_mistake(error)
        return last_valid(model_directory) or ServingPolicy()
