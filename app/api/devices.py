"""The devices of this machine, and which version runs on which."""

import asyncio
from typing import Any

from fastapi import APIRouter

from app.runtime.placement import Placer
from app.serving.describe import describe_devices
from app.serving.registry import Registry


def devices_router(registry: Registry, placer: Placer) -> APIRouter:
    """The route /v2/devices."""
    router = APIRouter(prefix="/v2", tags=["devices"])

    @router.get("/devices", summary="Devices seen, and where each loaded version runs and why")
    async def devices() -> dict[str, Any]:
        return describe_devices(registry, await asyncio.to_thread(placer.devices))

    return router
