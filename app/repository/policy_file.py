"""Reads the settings of a model: serving.json, and, with lower priority, those of other servers' files."""

import json
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from app.contract.files.regular import read_file
from app.errors import VersionRefused
from app.repository.policy import POLICY_FILE, POLICY_LIMIT_BYTES, ServingPolicy
from app.repository.triton import CONFIG_FILE
from app.repository.triton.model import Defaults, serving_defaults

_NOTHING: Mapping[str, Any] = MappingProxyType({})


def read_policy(model_directory: Path, elsewhere: Mapping[str, Any] = _NOTHING) -> ServingPolicy:
    """The policy of a model; keys without a value in serving.json are as stated elsewhere, or else the default.

    Args:
        model_directory: of the model.
        elsewhere: keys that models.config states; they count more than config.pbtxt, and less than serving.json.

    Raises:
        VersionRefused: no regular file, larger than 1 MiB, or see ``ServingPolicy.parse`` and ``serving_defaults``.
    """
    path = model_directory / POLICY_FILE
    try:
        stated = serving_defaults(model_directory)
        own = ServingPolicy.parse(path, read_file(path, POLICY_LIMIT_BYTES))
    except FileNotFoundError:
        own = ServingPolicy()
    except OSError as error:
        raise VersionRefused(f"{path}: {error.strerror}") from error
    if stated is not None:
        stated = stated._replace(document={**stated.document, **elsewhere})
        return _over(own, stated, model_directory / CONFIG_FILE)
    return _over(own, Defaults(dict(elsewhere), ()), path) if elsewhere else own


def _over(own: ServingPolicy, stated: Defaults, path: Path) -> ServingPolicy:
    """``own``, with the values of ``stated``, from ``path``, for keys that it does not set.

    Raises:
        VersionRefused: a stated value is out of range, or does not fit those of ``own``.
    """
    document = own.model_dump(mode="json", exclude_unset=True)
    merged = {**stated.document, **document}
    if "batching" in stated.document:
        merged["batching"] = {**stated.document["batching"], **document.get("batching", {})}
    return ServingPolicy.parse(path, json.dumps(merged).encode(), triton_mark=stated.mark)
