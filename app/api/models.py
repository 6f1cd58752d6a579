"""Status and metadata of models in TensorFlow Serving's form.

Two deliberate deviations: ``GET /v1/models`` lists the models (KServe's form; TensorFlow Serving answers 400), and a
wrong verb gets 405.
"""

from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import BeforeValidator

from app.contract.dtypes import NAMES
from app.contract.tensor_spec import TensorSpec
from app.lifecycle.registry import Registry
from app.lifecycle.versions import State, VersionRecord
from app.loaded import LoadedModel
from app.repository.scan import version_number

Version = Annotated[int, BeforeValidator(version_number)]

_STATES = {
    State.LOADING: "LOADING",
    State.READY: "AVAILABLE",
    State.UNLOADING: "UNLOADING",
    State.UNAVAILABLE: "END",
}


def models_router(registry: Registry) -> APIRouter:
    """Routes under /v1/models, except inference."""
    router = APIRouter(prefix="/v1/models", tags=["models"])

    @router.get("", summary="Names of all models")
    async def models() -> dict[str, list[str]]:
        return {"models": registry.names()}

    @router.get("/{name}", summary="State of every version of a model")
    async def status(name: str) -> dict[str, Any]:
        return {"model_version_status": [_status(record) for record in registry.records(name)]}

    @router.get("/{name}/versions/{version}", summary="State of one version")
    async def version_status(name: str, version: Version) -> dict[str, Any]:
        return {"model_version_status": [_status(registry.record(name, version))]}

    @router.get("/{name}/labels/{label}", summary="State of the version that has a label")
    async def label_status(name: str, label: str) -> dict[str, Any]:
        version = registry.labelled(name, label)
        return {"model_version_status": [_status(registry.record(name, version))]}

    @router.get("/{name}/labels/{label}/metadata", summary="Signature of the version that has a label")
    async def label_metadata(name: str, label: str) -> dict[str, Any]:
        return _metadata(registry, name, registry.labelled(name, label))

    @router.get("/{name}/metadata", summary="Signature of the version that serves")
    async def metadata(name: str) -> dict[str, Any]:
        return _metadata(registry, name, None)

    @router.get("/{name}/versions/{version}/metadata", summary="Signature of one version")
    async def version_metadata(name: str, version: Version) -> dict[str, Any]:
        return _metadata(registry, name, version)

    return router


def _status(record: VersionRecord) -> dict[str, Any]:
    return {
        "version": str(record.version),
        "state": _STATES[record.state],
        "status": {"error_code": "FAILED_PRECONDITION" if record.refused else "OK", "error_message": record.reason},
    }


def _metadata(registry: Registry, name: str, version: int | None) -> dict[str, Any]:
    model = registry.get(name, version)
    signatures = {"serving_default": model, **model.signatures}
    return {
        "model_spec": {"name": name, "signature_name": "", "version": str(model.version)},
        "metadata": {"signature_def": {"signature_def": {key: _signature(key, signatures[key]) for key in signatures}}},
    }


def _signature(name: str, model: LoadedModel) -> dict[str, Any]:
    return {
        "inputs": {tensor.name: _tensor(tensor, f"{name}_{tensor.name}") for tensor in model.spec.inputs},
        "outputs": {tensor.name: _tensor(tensor, "StatefulPartitionedCall") for tensor in model.spec.outputs},
        "method_name": "tensorflow/serving/predict",
        "defaults": {},
    }


def _tensor(tensor: TensorSpec, graph_name: str) -> dict[str, Any]:
    return {
        "dtype": NAMES[tensor.dtype].tensorflow,
        "tensor_shape": {
            "dim": [{"size": str(size), "name": ""} for size in tensor.batch_shape],
            "unknown_rank": False,
        },
        "name": f"{graph_name}:0",
    }
