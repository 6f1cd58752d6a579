"""The devices of this machine, and the versions that run on them."""

import asyncio
from typing import Any

from fastapi import APIRouter

from app.contract.device import CPU
from app.control.describe import describe_devices
from app.lifecycle.registry import Registry
from app.runtime.gpu_usage import GpuMeter
from app.runtime.placement import Placer


def devices_router(registry: Registry, placer: Placer, gpus: GpuMeter, *, threads: int) -> APIRouter:
    """The route /v2/devices.

    Args:
        registry: knows the devices of the versions.
        placer: knows the devices.
        gpus: reads their memory.
        threads: CPU threads that one backend call of this process may use.
    """
    router = APIRouter(prefix="/v2", tags=["devices"])

    @router.get("/devices", summary="Devices found, and the device of each loaded version with the reason")
    async def devices() -> dict[str, Any]:
        document = describe_devices(registry, await asyncio.to_thread(placer.devices))
        next(device for device in document["devices"] if device["name"] == CPU)["threads"] = threads
        usage = {gpu.name: gpu for gpu in await asyncio.to_thread(gpus.read)}
        for device in document["devices"]:
            if (gpu := usage.get(device["name"])) is not None:
                device["memory_used_bytes"] = gpu.memory_used_bytes
                device["memory_total_bytes"] = gpu.memory_total_bytes
        return document

    return router
