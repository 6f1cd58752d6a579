"""Liveness and readiness, as the Open Inference Protocol names them."""

from typing import Any

from fastapi import APIRouter
from fastapi.responses import JSONResponse

from app.serving.registry import Registry


def health_router(registry: Registry) -> APIRouter:
    """Routes under /v2/health."""
    router = APIRouter(prefix="/v2/health", tags=["health"])

    @router.get("/live", summary="The process answers; says nothing about models")
    async def live() -> dict[str, bool]:
        return {"live": True}

    @router.get(
        "/ready",
        summary="Requests can be sent here",
        responses={503: {"description": "Loading, shutting down, or no model loaded"}},
    )
    async def ready() -> Any:
        reason = registry.not_ready_reason
        if reason is not None:
            return JSONResponse({"error": reason}, status_code=503)
        return {"ready": True}

    return router
