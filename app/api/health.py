"""The routes of the health checks, with their descriptions."""

from typing import Any

from fastapi import APIRouter, Request, Response

from app.edge.entry.probes import LIVE, READY, Probes

_NOT_READY: dict[int | str, dict[str, Any]] = {503: {"description": "Loading, shutting down, or no model loaded"}}


def health_router(probes: Probes) -> APIRouter:
    """Routes of the health checks. The server of the command line answers most of them before this router."""
    router = APIRouter(tags=["health"])

    async def health(request: Request) -> Response:
        reply = probes.reply(request.url.path)
        assert reply is not None
        return Response(reply.body, reply.status, media_type="application/json")

    for paths, summary, failures in (
        (LIVE, "The process is running", {}),
        (READY, "The service accepts requests", _NOT_READY),
    ):
        for path in paths:
            router.add_api_route(
                path,
                health,
                name=path.rpartition("/")[2],
                response_model=dict[str, bool],
                summary=summary if path == paths[0] else f"Same as {paths[0]}",
                responses=failures,
            )
    return router
