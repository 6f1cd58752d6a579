"""Open Inference Protocol without health and inference: server and model metadata, readiness, configuration.

Source: Open Inference Protocol REST; Triton's model configuration extension.
"""

from collections.abc import Awaitable, Callable
from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import BeforeValidator

from app.control.describe import model_metadata, server_metadata
from app.control.model_config import model_config
from app.control.unsupported import LOG_SETTINGS, TRACE_SETTINGS
from app.errors import Unsupported
from app.lifecycle.registry import Registry
from app.repository.scan import version_number

Version = Annotated[int, BeforeValidator(version_number)]


def oip_router(registry: Registry) -> APIRouter:
    """Routes under /v2."""
    router = APIRouter(prefix="/v2", tags=["open inference protocol"])

    @router.get("", summary="Name, version and extensions of the service")
    async def server() -> dict[str, Any]:
        return server_metadata()

    @router.get("/models", summary="Names of all models")
    async def models() -> dict[str, list[str]]:
        return {"models": registry.names()}

    @router.get("/models/{name}", summary="Inputs and outputs of the version that serves")
    async def metadata(name: str) -> dict[str, Any]:
        return await model_metadata(registry, name, None)

    @router.get("/models/{name}/versions/{version}", summary="Inputs and outputs of one version")
    async def version_metadata(name: str, version: Version) -> dict[str, Any]:
        return await model_metadata(registry, name, version)

    @router.get("/models/{name}/ready", summary="A version of the model serves")
    async def ready(name: str) -> dict[str, Any]:
        registry.check_ready(name)
        return {"name": name, "ready": True}

    @router.get("/models/{name}/versions/{version}/ready", summary="The version serves")
    async def version_ready(name: str, version: Version) -> dict[str, Any]:
        registry.check_ready(name, version)
        return {"name": name, "ready": True}

    @router.get("/models/{name}/config", summary="Signature, batching and measured latency of the version that serves")
    async def config(name: str) -> dict[str, Any]:
        return model_config(await registry.described(name))

    @router.get("/models/{name}/versions/{version}/config", summary="Signature, batching and latency of one version")
    async def version_config(name: str, version: Version) -> dict[str, Any]:
        return model_config(await registry.described(name, version))

    for path, why in (
        ("/trace/setting", TRACE_SETTINGS),
        ("/models/{name}/trace/setting", TRACE_SETTINGS),
        ("/logging", LOG_SETTINGS),
    ):
        router.add_api_route(path, _refusing(why), methods=["GET", "POST"], include_in_schema=False)
    return router


def _refusing(why: str) -> Callable[[], Awaitable[None]]:
    async def refuse() -> None:
        raise Unsupported(why)

    return refuse
