"""What the service says of itself and its models, the same over REST and gRPC, with the protocol's names as keys.

Source: Open Inference Protocol, metadata; Triton's statistics and model repository extensions.
"""

from typing import Any, Protocol

from app import __version__
from app.contract.model_spec import TensorSpec
from app.serving.model_config import PLATFORM
from app.serving.registry import Registry
from app.serving.versions import State

EXTENSIONS = [
    "classification",
    "model_repository",
    "model_repository(unload_dependents)",
    "schedule_policy",
    "model_configuration",
    "binary_tensor_data",
    "parameters",
    "statistics",
]


class Statistics(Protocol):
    """Counts per model version; ``telemetry.metrics`` implements it."""

    def statistics(self, name: str, version: int) -> dict[str, Any]:
        """One entry of ``model_stats``, without name and version."""
        ...


def server_metadata() -> dict[str, Any]:
    """Name, version and extensions of the service."""
    return {"name": "atelier", "version": __version__, "extensions": EXTENSIONS}


def model_metadata(registry: Registry, name: str, version: int | None) -> dict[str, Any]:
    """Inputs and outputs of a version, shapes with the batch; None takes the version that serves.

    Raises:
        ModelNotFound, VersionNotFound, ModelNotReady: see ``Registry.get``.
    """
    model = registry.get(name, version)
    serving = [record.version for record in registry.records(name) if record.state is State.READY]
    return {
        "name": name,
        "versions": [str(number) for number in sorted(serving)],
        "platform": PLATFORM,
        "inputs": [_tensor(tensor) for tensor in model.spec.inputs],
        "outputs": [_tensor(tensor) for tensor in model.spec.outputs],
    }


def model_statistics(
    registry: Registry, statistics: Statistics, name: str | None = None, version: int | None = None
) -> list[dict[str, Any]]:
    """What every version has done since it was loaded first, of all models or of one.

    Raises:
        ModelNotFound, VersionNotFound: there is no such thing.
    """
    entries = []
    for each in registry.names() if name is None else [name]:
        records = registry.records(each) if version is None else [registry.record(each, version)]
        entries += [
            {"name": each, "version": str(record.version), **statistics.statistics(each, record.version)}
            for record in reversed(records)
        ]
    return entries


async def repository_index(registry: Registry, *, ready: bool) -> list[dict[str, str]]:
    """Every version of every model with its state, and why it does not serve.

    Args:
        registry: knows what is loaded and what lies on the disk.
        ready: only versions that serve.
    """
    entries = []
    for name, records in await registry.index():
        for record in records:
            if not ready or record.state is State.READY:
                entry = {"name": name, "version": str(record.version), "state": str(record.state)}
                entries.append(entry | ({"reason": record.reason} if record.reason else {}))
    return entries


def _tensor(tensor: TensorSpec) -> dict[str, Any]:
    return {"name": tensor.name, "datatype": tensor.oip_datatype, "shape": list(tensor.batch_shape)}
