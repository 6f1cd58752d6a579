"""Liveness and readiness: below /v2/health as in the Open Inference Protocol, and the paths common in Kubernetes."""

from typing import Any

from fastapi import APIRouter, Request, Response

from app.edge.entry.probes import Probes

_Answer = dict[str, bool]
_NOT_READY: dict[int | str, dict[str, Any]] = {503: {"description": "Loading, shutting down, or no model loaded"}}


def health_router(probes: Probes) -> APIRouter:
    """Routes of the health checks. The command line's server answers most of them before they come here."""
    router = APIRouter(tags=["health"])

    @router.get("/v2/health/live", response_model=_Answer, summary="The process is running")
    async def live(request: Request) -> Any:
        return _response(probes, request)

    @router.get(
        "/v2/health/ready", response_model=_Answer, summary="The service accepts requests", responses=_NOT_READY
    )
    async def ready(request: Request) -> Any:
        return _response(probes, request)

    @router.get("/livez", response_model=_Answer, summary="Same as /v2/health/live")
    async def livez(request: Request) -> Any:
        return _response(probes, request)

    @router.get("/healthz", response_model=_Answer, summary="Same as /v2/health/ready", responses=_NOT_READY)
    async def healthz(request: Request) -> Any:
        return _response(probes, request)

    return router


def _response(probes: Probes, request: Request) -> Any:
    reply = probes.reply(request.url.path)
    assert reply is not None
    return Response(reply.body, reply.status, media_type="application/json")
