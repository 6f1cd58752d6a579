"""Descriptions of the service and its models, the same over REST and gRPC, with the protocol's names as keys.

Source: Open Inference Protocol, metadata; Triton's statistics and model repository extensions.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol

from app import __version__
from app.control.model_config import platform
from app.control.tensor_metadata import tensor_metadata
from app.errors import VersionNotFound
from app.lifecycle.registry import Registry
from app.lifecycle.versions import State
from app.rollout.canary import Rollout
from app.rollout.comparison import Comparison
from app.runtime.devices import Device

EXTENSIONS = [
    "classification",
    "model_repository",
    "model_repository(unload_dependents)",
    "schedule_policy",
    "model_configuration",
    "binary_tensor_data",
    "parameters",
    "statistics",
    "system_shared_memory",
]


class Statistics(Protocol):
    """Counts per model version; ``telemetry.metrics`` implements it."""

    def statistics(self, name: str, version: int) -> dict[str, Any]:
        """One entry of ``model_stats``, without name and version."""
        ...

    def comparison(self, rollout: Rollout) -> Comparison:
        """The comparison of a canary."""
        ...


# Counts of all worker processes together, if there are several.
TotalStatistics = Callable[[], Awaitable[Statistics]]


def server_metadata() -> dict[str, Any]:
    """Name, version and extensions of the service."""
    return {"name": "atelier", "version": __version__, "extensions": EXTENSIONS}


async def model_metadata(registry: Registry, name: str, version: int | None) -> dict[str, Any]:
    """Inputs and outputs of a version, shapes with the batch; None means the default version.

    Raises:
        ModelNotFound, VersionNotFound, ModelNotReady: see ``Registry.described``.
    """
    model = await registry.described(name, version)
    serving = [record.version for record in registry.records(name) if record.state is State.READY]
    return {
        "name": name,
        "versions": [str(number) for number in sorted(serving)],
        "platform": platform(model),
        "inputs": tensor_metadata(model.spec.inputs),
        "outputs": tensor_metadata(model.spec.outputs),
    }


def model_statistics(
    registry: Registry, statistics: Statistics, name: str | None = None, version: int | None = None
) -> list[dict[str, Any]]:
    """The counts of every version since it was first loaded, of all models or of one.

    Raises:
        ModelNotFound, VersionNotFound: the model or the version does not exist.
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
        registry: knows the versions that are loaded and those on disk.
        ready: only versions that serve.
    """
    entries = []
    for name, records in await registry.index():
        for record in records:
            if not ready or record.state is State.READY:
                entry = {"name": name, "version": str(record.version), "state": str(record.state)}
                reason = record.reason or (record.model.unverified if record.model is not None else "")
                entries.append(entry | ({"reason": reason} if reason else {}))
    return entries


def model_versions(registry: Registry, name: str) -> dict[str, Any]:
    """The default version of a model, the versions of its labels, and the state of each version.

    Raises:
        ModelNotFound: the model does not exist.
    """
    records, default = registry.records(name), registry.default(name)
    return {
        "name": name,
        "serving": default.version if default is not None else None,
        "labels": dict(registry.labels(name)),
        "versions": [
            {"version": record.version, "state": str(record.state), "reason": record.reason} for record in records
        ],
    }


def describe_rollout(registry: Registry, statistics: Statistics, name: str) -> dict[str, Any]:
    """Comparison of a model's canary with stable: shares, requests, copies, agreement and latency.

    Raises:
        ModelNotFound: the model does not exist.
        VersionNotFound: no canary serves.
    """
    registry.records(name)
    rollout = registry.rollout(name)
    if rollout is None:
        raise VersionNotFound(
            f"model {name!r} has no canary that serves alongside a stable version; set version_labels.canary in "
            "serving.json, and load that version"
        )
    seen, policy = statistics.comparison(rollout), rollout.policy
    ran = seen.copies - seen.copy_errors
    return {
        "model": name,
        "stable": str(rollout.stable.version),
        "canary": str(rollout.canary.version),
        "state": "halted" if rollout.reason is not None else "running",
        "reason": rollout.reason or "",
        "canary_percent": policy.canary.percent if policy.canary is not None else 0,
        "shadow_percent": policy.shadow.percent if policy.shadow is not None else 0,
        "requests": {"count": seen.requests, "errors": seen.errors},
        "copies": {"count": seen.copies, "errors": seen.copy_errors, "dropped": seen.dropped},
        "instances": {"compared": seen.rows, "agreed": seen.agreed},
        "score_distance": {
            "mean": seen.distance_sum / seen.rows if seen.rows else 0.0,
            "p50": seen.distance_at(0.5),
            "p99": seen.distance_at(0.99),
            "max": seen.distance_max,
        },
        "compute_ms": {
            "stable": seen.stable_s / ran * 1e3 if ran else 0.0,
            "canary": seen.canary_s / ran * 1e3 if ran else 0.0,
        },
    }


def describe_devices(registry: Registry, devices: Sequence[Device]) -> dict[str, Any]:
    """The devices of this machine, and for each loaded version its device, the reason, and whether it works."""
    return {
        "devices": [
            {"name": device.name, "description": device.description, "used": device.used, "reason": device.reason}
            for device in devices
        ],
        "models": [
            {
                "name": model.name,
                "version": str(model.version),
                "device": ", ".join(model.instances.devices),
                "provider": model.provider,
                "reason": model.instances.reason,
                "degraded": model.instances.degraded,
                "faults": model.instances.faults,
                "hangs": model.instances.hangs,
                "instances": [
                    {
                        "device": instance.placement.device,
                        "reason": instance.placement.reason,
                        "degraded": instance.condition.reason,
                        "faults": instance.condition.faults,
                        "hangs": instance.condition.hangs,
                    }
                    for instance in model.instances.all
                ],
            }
            for model in registry.loaded()
        ],
    }
