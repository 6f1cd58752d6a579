"""Reads models.config: names, places, version policies and labels of models.

Source: TensorFlow Serving, serving configuration (ModelServerConfig). Protobuf's text format.
"""

import logging
from pathlib import Path
from typing import Any

import orjson

from app.contract.files.regular import shown
from app.errors import VersionRefused
from app.repository.policy import POLICY_FILE, ServingPolicy
from app.repository.stated_policy import version_policy
from app.repository.text_proto import read_text_proto
from app.repository.tf_serving import models_pb2 as pb
from app.repository.tf_serving.named import NamedModel, named_model

log = logging.getLogger("atelier.repository")

CONFIG_LIMIT_BYTES = 2**20
MOST_MODELS = 4096
_PLATFORMS = {"", "tensorflow"}


def read_models_config(path: Path) -> dict[str, NamedModel]:
    """Model name -> its path, and the keys of serving.json that the file states.

    Raises:
        VersionRefused: the file cannot be read, is larger than 1 MiB, or breaks a rule; names the model that breaks it.
    """
    try:
        config = read_text_proto(path, pb.ModelServerConfig(), CONFIG_LIMIT_BYTES)
    except FileNotFoundError as error:
        raise VersionRefused(f"{path}: {error.strerror}") from error
    listed = config.model_config_list.config
    if not 1 <= len(listed) <= MOST_MODELS:
        raise VersionRefused(f"{path}: model_config_list has {len(listed)} models; 1 to {MOST_MODELS} are served")
    models: dict[str, NamedModel] = {}
    for each in listed:
        model = _model(path, each)
        if model.name in models:
            raise VersionRefused(f"{path}: two models have the name {model.name!r}")
        models[model.name] = model
    return models


def _model(path: Path, stated: pb.ModelConfig) -> NamedModel:
    where = f"{path}: model {shown(stated.name)!r}"
    if stated.model_platform not in _PLATFORMS:
        raise VersionRefused(f"{where}: model_platform {shown(stated.model_platform)!r} is not run here; tensorflow is")
    if stated.model_type not in {pb.MODEL_TYPE_UNSPECIFIED, pb.TENSORFLOW}:
        raise VersionRefused(f"{where}: model_type {pb.ModelType.Name(stated.model_type)} is not run here")
    if stated.HasField("logging_config"):
        log.warning("%s: logging_config has no effect", where)
    document: dict[str, Any] = {}
    if (policy := version_policy(stated.model_version_policy)) is not None:
        document["version_policy"] = policy
    if stated.version_labels:
        document["version_labels"] = dict(stated.version_labels)
    try:
        ServingPolicy.parse(Path(POLICY_FILE), orjson.dumps(document))
    except VersionRefused as error:
        raise VersionRefused(f"{where}: {error.message.removeprefix(f'{POLICY_FILE}: ')}") from error
    return named_model(where, stated.name, stated.base_path, document)
