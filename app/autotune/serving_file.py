"""Changes single batching keys of a serving.json, all or nothing."""

import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from app.errors import VersionRefused
from app.repository.policy import POLICY_FILE, ServingPolicy


def write_batching(model_directory: Path, values: Mapping[str, Any]) -> Path:
    """Set keys of ``batching`` in a model's serving.json; every other key stays. Makes the file if there is none.

    A reader sees the old file or the new one, never a part of either.

    Args:
        model_directory: holds the version directories.
        values: key of ``BatchingPolicy`` -> JSON value.

    Returns:
        The file written; where serving.json is a link, what it points to.

    Raises:
        VersionRefused: the file is invalid, or would be; it is left as it was.
        OSError: it cannot be written; it is left as it was.
    """
    ServingPolicy.read(model_directory)
    path = (model_directory / POLICY_FILE).resolve()
    document = json.loads(path.read_bytes()) if path.exists() else {}
    document["batching"] = document.get("batching", {}) | values
    text = json.dumps(document, indent=2, ensure_ascii=False) + "\n"
    try:
        ServingPolicy.model_validate_json(text)
    except ValidationError as error:
        raise VersionRefused(f"{path}: left as it is: with the new values, {error.errors()[0]['msg']}") from error
    _replace(path, text.encode())
    return path


def _replace(path: Path, data: bytes) -> None:
    """Write a temporary sibling, bring it to the disk, and let it take the file's place."""
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
