"""Triton's statistics extension: the counts of every version since it was first loaded."""

from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import BeforeValidator

from app.control.describe import TotalStatistics, model_statistics
from app.lifecycle.registry import Registry
from app.repository.scan import version_number

Version = Annotated[int, BeforeValidator(version_number)]


def statistics_router(registry: Registry, statistics: TotalStatistics) -> APIRouter:
    """Routes under /v2/models that end in /stats; include them before those that accept any model name."""
    router = APIRouter(prefix="/v2/models", tags=["statistics"])

    @router.get("/stats", summary="Statistics of all models")
    async def all_stats() -> dict[str, Any]:
        return {"model_stats": model_statistics(registry, await statistics())}

    @router.get("/{name}/stats", summary="Statistics of every version of a model")
    async def stats(name: str) -> dict[str, Any]:
        return {"model_stats": model_statistics(registry, await statistics(), name)}

    @router.get("/{name}/versions/{version}/stats", summary="Statistics of one version")
    async def version_stats(name: str, version: Version) -> dict[str, Any]:
        return {"model_stats": model_statistics(registry, await statistics(), name, version)}

    return router
