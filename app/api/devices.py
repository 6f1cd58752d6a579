"""The devices of this machine, and which version runs on which."""

import asyncio
from typing import Any

from fastapi import APIRouter

from app.runtime.gpu_usage import GpuMeter
from app.runtime.placement import Placer
from app.serving.describe import describe_devices
from app.serving.registry import Registry


def devices_router(registry: Registry, placer: Placer, gpus: GpuMeter) -> APIRouter:
    """The route /v2/devices."""
    router = APIRouter(prefix="/v2", tags=["devices"])

    @router.get("/devices", summary="Devices seen, and where each loaded version runs and why")
    async def devices() -> dict[str, Any]:
        document = describe_devices(registry, await asyncio.to_thread(placer.devices))
        usage = {gpu.name: gpu for gpu in await asyncio.to_thread(gpus.read)}
        for device in document["devices"]:
            if (gpu := usage.get(device["name"])) is not None:
                device["memory_used_bytes"] = gpu.memory_used_bytes
                device["memory_total_bytes"] = gpu.memory_total_bytes
        return document

    return router
