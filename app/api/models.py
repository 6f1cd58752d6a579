"""Status and metadata of models in TensorFlow Serving's form.

Two deliberate deviations: ``GET /v1/models`` lists the models (KServe's form; TensorFlow Serving answers 400), and a
wrong verb gets 405.
"""

from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import BeforeValidator

from app.control import tfs
from app.lifecycle.registry import Registry
from app.repository.scan import version_number

Version = Annotated[int, BeforeValidator(version_number)]


def models_router(registry: Registry) -> APIRouter:
    """Routes under /v1/models, except inference."""
    router = APIRouter(prefix="/v1/models", tags=["models"])

    @router.get("", summary="Names of all models")
    async def models() -> dict[str, list[str]]:
        return {"models": registry.names()}

    @router.get("/{name}", summary="State of every version of a model")
    async def status(name: str) -> dict[str, Any]:
        statuses = [tfs.version_status(record) for record in registry.records(name)]
        # KServe's clients read ``ready``; those of TensorFlow Serving read the rest.
        return {"name": name, "ready": registry.is_ready(name), "model_version_status": statuses}

    @router.get("/{name}/versions/{version}", summary="State of one version")
    async def version_status(name: str, version: Version) -> dict[str, Any]:
        return {"model_version_status": [tfs.version_status(registry.record(name, version))]}

    @router.get("/{name}/labels/{label}", summary="State of the version that has a label")
    async def label_status(name: str, label: str) -> dict[str, Any]:
        version = registry.labelled(name, label)
        return {"model_version_status": [tfs.version_status(registry.record(name, version))]}

    @router.get("/{name}/labels/{label}/metadata", summary="Signature of the version that has a label")
    async def label_metadata(name: str, label: str) -> dict[str, Any]:
        return await tfs.model_metadata(registry, name, registry.labelled(name, label))

    @router.get("/{name}/metadata", summary="Signature of the version that serves")
    async def metadata(name: str) -> dict[str, Any]:
        return await tfs.model_metadata(registry, name, None)

    @router.get("/{name}/versions/{version}/metadata", summary="Signature of one version")
    async def version_metadata(name: str, version: Version) -> dict[str, Any]:
        return await tfs.model_metadata(registry, name, version)

    return router
