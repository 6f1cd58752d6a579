"""What a model directory that Triton served says of its model; protobuf is loaded only where there is such a file."""

import logging
from pathlib import Path
from typing import Any, NamedTuple

from app.contract.derive import Stated
from app.repository.layouts import has_own_versions
from app.repository.triton import CONFIG_FILE

log = logging.getLogger("atelier.repository")


class Defaults(NamedTuple):
    """Keys of serving.json that config.pbtxt states, and all of it, to see whether it has changed."""

    document: dict[str, Any]
    config: bytes


def signature(model_directory: Path) -> Stated | None:
    """What config.pbtxt states of the graph; None without one. The log names what it states in vain.

    Raises:
        VersionRefused: see ``read_config`` and ``stated_signature``.
    """
    if not (model_directory / CONFIG_FILE).exists():
        return None
    from app.repository.triton.config_file import passed_over, read_config
    from app.repository.triton.settings import stated_signature

    config = read_config(model_directory)
    if config is None:
        return None
    if names := passed_over(config):
        log.warning("model %s: %s states without effect: %s", model_directory.name, CONFIG_FILE, ", ".join(names))
    return stated_signature(config, model_directory)


def serving_defaults(model_directory: Path) -> Defaults | None:
    """What config.pbtxt states; None without one, and next to versions of our own, for which it is an export.

    Raises:
        VersionRefused: see ``read_config``.
    """
    if not (model_directory / CONFIG_FILE).exists() or has_own_versions(model_directory):
        return None
    from app.repository.triton.config_file import read_config
    from app.repository.triton.settings import serving_document

    config = read_config(model_directory)
    return None if config is None else Defaults(serving_document(config), config.SerializeToString(deterministic=True))
