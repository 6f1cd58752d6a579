"""Triton's statistics extension: what every version has done since it was loaded first."""

from typing import Annotated, Any, Protocol

from fastapi import APIRouter
from pydantic import BeforeValidator

from app.repository.scan import version_number
from app.serving.registry import Registry

Version = Annotated[int, BeforeValidator(version_number)]


class Statistics(Protocol):
    """Counts per model version; ``telemetry.metrics`` implements it."""

    def statistics(self, name: str, version: int) -> dict[str, Any]:
        """One entry of ``model_stats``, without name and version."""
        ...


def statistics_router(registry: Registry, statistics: Statistics) -> APIRouter:
    """Routes under /v2/models that end in /stats; to be included before those that take any model name."""
    router = APIRouter(prefix="/v2/models", tags=["statistics"])

    def entries(name: str, version: int | None) -> list[dict[str, Any]]:
        records = registry.records(name) if version is None else [registry.record(name, version)]
        return [
            {"name": name, "version": str(record.version), **statistics.statistics(name, record.version)}
            for record in reversed(records)
        ]

    @router.get("/stats", summary="Statistics of all models")
    async def all_stats() -> dict[str, Any]:
        return {"model_stats": [entry for name in registry.names() for entry in entries(name, None)]}

    @router.get("/{name}/stats", summary="Statistics of every version of a model")
    async def stats(name: str) -> dict[str, Any]:
        return {"model_stats": entries(name, None)}

    @router.get("/{name}/versions/{version}/stats", summary="Statistics of one version")
    async def version_stats(name: str, version: Version) -> dict[str, Any]:
        return {"model_stats": entries(name, version)}

    return router
