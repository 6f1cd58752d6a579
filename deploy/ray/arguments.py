"""Arguments of the application: what ``args`` of a Serve configuration may contain."""

from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from app.mirror.location import Location
from app.settings import Settings

OF_SERVE = frozenset({"host", "port", "root_path", "tls_cert", "tls_key", "tls_key_password", "tls_client_ca"})
"""Settings whose place is taken by ``http_options`` of Serve: it listens."""
OF_ONE_PROCESS = frozenset({"admin", "admin_bind", "admin_key", "grpc_port", "shared_memory", "workers"})
"""Settings of a process that clients reach directly; on Ray they do not reach a replica."""
OF_ARGUMENTS = frozenset({"models_dir", "model_config_file", "model_name", "model_base_path"})
"""Settings that are made of the other arguments."""
ALL = "models"
"""Name of the only group when no group is stated, and of its deployment."""


class Group(BaseModel):
    """Models that are served by the same replicas, and the resources of each replica.

    Attributes:
        name: of the deployment.
        models: names of its models. Empty: all models of the directory; only possible for a single group.
        num_cpus: logical CPUs of a replica, and the CPU threads that its models may use, at least 1.
        num_gpus: GPUs of a replica; a fraction is shared with other replicas.
        replicas: fixed number; None with ``autoscaling``.
        autoscaling: keys of ``AutoscalingConfig`` of Ray Serve, such as ``max_replicas``.
        max_ongoing_requests: requests in progress in one replica; others wait for a replica.
        max_surge_percent: replicas that an update may start in addition, in percent; 0 stops old ones first, and needs
            no more room.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(default=ALL, pattern=r"^[A-Za-z0-9_-]{1,100}$")
    models: tuple[str, ...] = ()
    num_cpus: float = Field(default=1, gt=0)
    num_gpus: float = Field(default=0, ge=0)
    replicas: int | None = Field(default=None, ge=1)
    autoscaling: dict[str, Any] | None = None
    max_ongoing_requests: int = Field(default=256, ge=1)
    max_surge_percent: int = Field(default=0, ge=0, le=100)

    @model_validator(mode="after")
    def _has_one_size(self) -> Self:
        if self.replicas is not None and self.autoscaling is not None:
            raise ValueError(f"group {self.name!r} has replicas and autoscaling; give one of them")
        return self


class Arguments(BaseModel):
    """Arguments of ``deploy.ray.application:build``.

    Attributes:
        models_dir: the models directory, at the same path on every node; or its URL, of which every node has a copy.
        settings: settings of the service by their names without ATELIER_, for all replicas.
        groups: default: one group with all models.
        ingress_replicas: replicas that read the name of the model, with several groups.
        revision: any text. Another one replaces all replicas, one after the other.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    models_dir: str = Field(default="models", validate_default=True)
    settings: dict[str, Any] = Field(default_factory=dict)
    groups: tuple[Group, ...] = Field(default=(Group(),), min_length=1)
    ingress_replicas: int = Field(default=1, ge=1)
    revision: str = ""

    @field_validator("models_dir")
    @classmethod
    def _is_absolute(cls, value: str) -> str:
        return str(Path(value).absolute()) if Location.parse(value) is None else value

    @field_validator("settings")
    @classmethod
    def _are_settings(cls, value: dict[str, Any]) -> dict[str, Any]:
        for name in sorted(value):
            if name in OF_SERVE:
                raise ValueError(f"settings has {name!r}, but Ray Serve listens; state it in http_options of Serve")
            if name in OF_ONE_PROCESS:
                raise ValueError(f"settings has {name!r}, which a replica does not support; leave it out")
            if name in OF_ARGUMENTS:
                raise ValueError(f"settings has {name!r}; state models_dir and the models of the groups instead")
        Settings(**value)
        return value

    @model_validator(mode="after")
    def _groups_are_apart(self) -> Self:
        names = [group.name for group in self.groups]
        if len(set(names)) != len(names):
            raise ValueError(f"groups are called {names}; each needs a name of its own")
        if len(self.groups) == 1:
            return self
        if Location.parse(self.models_dir) is not None:
            raise ValueError(f"models_dir is {self.models_dir!r}; several groups require a directory")
        owners: dict[str, str] = {}
        for group in self.groups:
            if not group.models:
                raise ValueError(f"group {group.name!r} has no models; with several groups each names its models")
            for model in group.models:
                if model in owners:
                    raise ValueError(f"model {model!r} is in the groups {owners[model]!r} and {group.name!r}")
                owners[model] = group.name
        return self
