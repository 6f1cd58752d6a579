"""Triton's shared memory extension: lists regions, and lets administrators register them."""

from typing import Any

from fastapi import APIRouter, Depends, Request, Response

from app.api.admin import AdminGuard
from app.api.repository import read_document
from app.control.peer import scope_peer
from app.edge.shared_memory.regions import NO_CUDA, Closed, Regions
from app.errors import Forbidden, Unsupported


def shared_memory_router(memory: Regions | Closed, guard: AdminGuard) -> APIRouter:
    """Routes below /v2/systemsharedmemory and /v2/cudasharedmemory.

    Args:
        memory: the regions, or the reason why they are not available.
        guard: which callers may see and register regions, in addition to being on this machine.
    """
    router = APIRouter(prefix="/v2", tags=["shared memory"], dependencies=[Depends(guard), Depends(_near)])

    @router.get("/systemsharedmemory/status", summary="All registered regions")
    async def status() -> list[dict[str, Any]]:
        return memory.opened().status(None)

    @router.get("/systemsharedmemory/region/{region}/status", summary="One region")
    async def region_status(region: str) -> list[dict[str, Any]]:
        return memory.opened().status(region)

    @router.post("/systemsharedmemory/region/{region}/register", summary="Open a region under a name")
    async def register(region: str, request: Request) -> Response:
        document = await read_document(request)
        memory.opened().register(region, document.get("key"), document.get("byte_size"), document.get("offset", 0))
        return Response()

    @router.post("/systemsharedmemory/region/{region}/unregister", summary="Close a region")
    async def unregister(region: str) -> Response:
        memory.opened().unregister(region)
        return Response()

    @router.post("/systemsharedmemory/unregister", summary="Close all regions")
    async def unregister_all() -> Response:
        memory.opened().unregister(None)
        return Response()

    @router.get("/cudasharedmemory/status", summary="Always empty")
    async def cuda_status() -> list[dict[str, Any]]:
        return []

    @router.post("/cudasharedmemory/unregister", summary="Without effect")
    async def cuda_unregister_all() -> Response:
        return Response()

    @router.post("/cudasharedmemory/region/{region}/register", summary="Not supported")
    async def cuda_register(region: str) -> Response:
        raise Unsupported(f"region {region!r}: {NO_CUDA}")

    return router


def _near(request: Request) -> None:
    if not scope_peer(request.scope).is_near:
        raise Forbidden(f"{request.url.path} is only for clients on this machine")
