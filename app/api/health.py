"""Liveness and readiness under the paths of the Open Inference Protocol."""

from typing import Any

from fastapi import APIRouter
from fastapi.responses import JSONResponse

from app.lifecycle.registry import Registry

_NOT_READY: dict[int | str, dict[str, Any]] = {503: {"description": "Loading, shutting down, or no model loaded"}}


def health_router(registry: Registry) -> APIRouter:
    """Routes under /v2/health."""
    router = APIRouter(prefix="/v2/health", tags=["health"])

    @router.get("/live", summary="The process is running; independent of the models")
    async def live() -> dict[str, bool]:
        return {"live": True}

    @router.get("/ready", summary="The service accepts requests", responses=_NOT_READY)
    async def ready() -> Any:
        return _ready(registry)

    return router


def probes_router(registry: Registry) -> APIRouter:
    """/livez and /healthz, the paths that Kubernetes made common; same as live and ready."""
    router = APIRouter(tags=["health"])

    @router.head("/livez", include_in_schema=False)
    @router.get("/livez", summary="Same as /v2/health/live")
    async def livez() -> dict[str, bool]:
        return {"live": True}

    @router.head("/healthz", include_in_schema=False)
    @router.get("/healthz", summary="Same as /v2/health/ready", responses=_NOT_READY)
    async def healthz() -> Any:
        return _ready(registry)

    return router


def _ready(registry: Registry) -> Any:
    reason = registry.not_ready_reason
    return {"ready": True} if reason is None else JSONResponse({"error": reason}, status_code=503)
