"""Liveness and readiness, as the Open Inference Protocol names them."""

from typing import Any

from fastapi import APIRouter
from fastapi.responses import JSONResponse

from app.lifecycle.registry import Registry

_NOT_READY: dict[int | str, dict[str, Any]] = {503: {"description": "Loading, shutting down, or no model loaded"}}


def health_router(registry: Registry) -> APIRouter:
    """Routes under /v2/health."""
    router = APIRouter(prefix="/v2/health", tags=["health"])

    @router.get("/live", summary="The process answers; says nothing about models")
    async def live() -> dict[str, bool]:
        return {"live": True}

    @router.get("/ready", summary="Requests can be sent here", responses=_NOT_READY)
    async def ready() -> Any:
        return _ready(registry)

    return router


def probes_router(registry: Registry) -> APIRouter:
    """/livez and /healthz, the names that Kubernetes made common: as live and ready."""
    router = APIRouter(tags=["health"])

    @router.head("/livez", include_in_schema=False)
    @router.get("/livez", summary="As /v2/health/live")
    async def livez() -> dict[str, bool]:
        return {"live": True}

    @router.head("/healthz", include_in_schema=False)
    @router.get("/healthz", summary="As /v2/health/ready", responses=_NOT_READY)
    async def healthz() -> Any:
        return _ready(registry)

    return router


def _ready(registry: Registry) -> Any:
    reason = registry.not_ready_reason
    return {"ready": True} if reason is None else JSONResponse({"error": reason}, status_code=503)
