"""The comparison of a canary with the stable version."""

from typing import Any

from fastapi import APIRouter

from app.control.describe import TotalStatistics, describe_rollout
from app.lifecycle.registry import Registry


def shadow_router(registry: Registry, statistics: TotalStatistics) -> APIRouter:
    """The route under /v2/models."""
    router = APIRouter(prefix="/v2/models", tags=["models"])

    @router.get("/{name}/shadow", summary="How the canary compares with the stable version")
    async def shadow(name: str) -> dict[str, Any]:
        return describe_rollout(registry, await statistics(), name)

    return router
