"""Settings of a model directory in Triton's layout; protobuf is loaded only if there is a config.pbtxt."""

import logging
import os
from collections.abc import Hashable
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from app.contract.files.settled import marks_of, settled
from app.contract.files.tree import MODEL_ENTRIES
from app.contract.graph_facts import Stated
from app.contract.manifest import MANIFEST_FILE
from app.repository.told import Told
from app.repository.triton import CONFIG_FILE

log = logging.getLogger("atelier.repository")


class Defaults(NamedTuple):
    """Keys of serving.json that config.pbtxt states, and a mark of its content and of the files that it names."""

    document: dict[str, Any]
    mark: Hashable


def signature(model_directory: Path, told: Told) -> Stated | None:
    """Facts of the graph in config.pbtxt; None without one.

    Args:
        model_directory: of the model.
        told: decides whether the log names fields without effect: once for all versions, and again for other content.

    Raises:
        VersionRefused: see ``read_config`` and ``stated_signature``; or a file that it names is still changing.
    """
    if not os.path.lexists(model_directory / CONFIG_FILE):
        return None
    from app.repository.triton.config_file import files_beside, passed_over, read_config
    from app.repository.triton.settings import stated_signature

    config = read_config(model_directory)
    if config is None:
        return None
    names = passed_over(config)
    if told.is_news(model_directory / CONFIG_FILE, config.SerializeToString(deterministic=True)) and names:
        log.warning("model %s: %s states without effect: %s", model_directory.name, CONFIG_FILE, ", ".join(names))
    with settled(model_directory, lambda: files_beside(config, model_directory)):
        return stated_signature(config, model_directory)


def states_other_versions(model_directory: Path) -> bool:
    """Whether there is a config.pbtxt of another tool's versions; next to versions of our own it is an export."""
    if not os.path.lexists(model_directory / CONFIG_FILE):
        return False
    return not any((each / MANIFEST_FILE).is_file() for each in islice(model_directory.iterdir(), MODEL_ENTRIES))


def states_an_ensemble(model_directory: Path) -> bool:
    """Whether config.pbtxt is that of an ensemble, whose version directories are empty."""
    from app.repository.triton.config_file import is_ensemble

    return is_ensemble(model_directory)


def serving_defaults(model_directory: Path) -> Defaults | None:
    """Settings in config.pbtxt; None without one, and next to our own versions, for which it is an export.

    Raises:
        VersionRefused: see ``read_config``.
    """
    if not states_other_versions(model_directory):
        return None
    from app.repository.triton.config_file import files_beside, read_config
    from app.repository.triton.settings import serving_document

    config = read_config(model_directory)
    if config is None:
        return None
    content = config.SerializeToString(deterministic=True)
    return Defaults(serving_document(config), (content, marks_of(files_beside(config, model_directory))))


def model_filename(model_directory: Path) -> str:
    """The file or directory, inside a version, that config.pbtxt names; "" if it does not name one.

    Raises:
        VersionRefused: see ``read_config``.
    """
    if not states_other_versions(model_directory):
        return ""
    from app.repository.triton.config_file import read_config

    config = read_config(model_directory)
    return "" if config is None else str(config.default_model_filename)
