"""HandleReloadConfigRequest: a list of models, as far as the models directory and serving.json allow it.

Source: TensorFlow Serving, model_management.proto and model_server_config.proto; a model that the list leaves out is
unloaded.
"""

import asyncio
import os
from pathlib import Path

from app.control.administration import RepositoryCommands
from app.edge.grpc.tfs import serving_pb2 as pb
from app.errors import InvalidInput, Unsupported
from app.lifecycle.registry import Registry
from app.lifecycle.versions import State
from app.repository.missing import listed, no_model
from app.repository.places import Places

MOST_MODELS = 1_024
_PLATFORMS = {"", "tensorflow"}


class Reload:
    """Loads the listed models, and unloads all others.

    Args:
        registry: which models and versions there are.
        commands: load and unload.
        places: where the models are.
        unload_timeout_s: seconds in which requests of a model that is unloaded may finish.
    """

    def __init__(
        self, *, registry: Registry, commands: RepositoryCommands, places: Places, unload_timeout_s: float
    ) -> None:
        self._registry = registry
        self._commands = commands
        self._places = places
        self._unload_timeout_s = unload_timeout_s

    async def run(self, config: pb.ModelServerConfig) -> None:
        """Serve what the configuration lists. Everything that can be checked is checked before the first change.

        Raises:
            InvalidInput: not a list of models, or an entry breaks a rule.
            ModelNotFound: the models directory does not contain a model of that name.
            Unsupported: an entry sets what only serving.json or the models directory decides.
            VersionRefused: a version cannot be loaded; nothing is unloaded.
        """
        if config.WhichOneof("config") != "model_config_list":
            raise InvalidInput(
                "ServerModelConfig type not supported by HandleReloadConfigRequest. Only ModelConfigList is currently "
                "supported"
            )
        models = list(config.model_config_list.config)
        if not 1 <= len(models) <= MOST_MODELS:
            raise InvalidInput(f"model_config_list has {len(models)} models; list 1 to {MOST_MODELS}")
        names = [model.name for model in models]
        known = [name for name, _ in await self._registry.index()]
        for model in models:
            if model.name not in known:
                raise no_model(model.name, known)
            if names.count(model.name) > 1:
                raise InvalidInput(f"model_config_list lists model {model.name!r} twice")
            self._check(model, (await asyncio.to_thread(self._places.of, model.name)).directory)
        for model in models:
            await self._commands.load(model.name)
            self._check_versions(model)
        for name in self._registry.names():
            if name not in names and any(record.model is not None for record in self._registry.records(name)):
                await self._commands.unload(name, timeout_s=self._unload_timeout_s)

    def _check(self, model: pb.ModelConfig, directory: Path) -> None:
        """The settings of an entry must be those in effect: clients cannot change them."""
        if model.base_path and not _is_same(model.base_path, directory):
            raise Unsupported(
                f"base_path {model.base_path!r} of model {model.name!r} is not supported: its versions are in "
                f"{str(directory)!r}"
            )
        if model.model_platform not in _PLATFORMS:
            raise InvalidInput(f"model_platform {model.model_platform!r} of model {model.name!r}; use 'tensorflow'")
        labels = dict(sorted(model.version_labels.items()))
        if labels and labels != (have := dict(self._registry.labels(model.name))):
            raise Unsupported(
                f"version_labels {labels} of model {model.name!r} differ from those that it has, {have}; change "
                "them in its serving.json"
            )

    def _check_versions(self, model: pb.ModelConfig) -> None:
        """Whether the versions that serving.json selects are those that the entry's policy would select."""
        policy = model.model_version_policy
        kind = policy.WhichOneof("policy_choice")
        if kind is None:
            return
        records = self._registry.records(model.name)  # newest first
        all_versions = [record.version for record in records]
        wanted = {
            "latest": all_versions[: max(1, policy.latest.num_versions)],
            "all": all_versions,
            "specific": list(policy.specific.versions),
        }[kind]
        serving = [record.version for record in records if record.state is State.READY]
        if set(serving) != set(wanted):
            raise Unsupported(
                f"model_version_policy {kind!r} of model {model.name!r} asks for versions {listed(wanted)}; its "
                f"serving.json selects {listed(serving) or 'none'}; change it there"
            )


def _is_same(path: str, directory: Path) -> bool:
    """Whether a path is that of a directory, by its syntax alone: the disk is not accessed."""
    return "\0" not in path and os.path.abspath(path) == os.path.abspath(directory)
