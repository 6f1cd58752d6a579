"""Status and metadata of models in TensorFlow Serving's form, the same over REST and gRPC, as its JSON.

Source: TensorFlow Serving, RESTful API (model status, model metadata).
"""

from typing import Any

from app.contract.dtypes import NAMES
from app.contract.tensor_spec import TensorSpec
from app.lifecycle.registry import Registry
from app.lifecycle.versions import State, VersionRecord
from app.loaded import LoadedModel

_STATES = {
    State.LOADING: "LOADING",
    State.READY: "AVAILABLE",
    State.UNLOADING: "UNLOADING",
    State.UNAVAILABLE: "END",
}


def version_status(record: VersionRecord) -> dict[str, Any]:
    """The state of one version."""
    return {
        "version": str(record.version),
        "state": _STATES[record.state],
        "status": {"error_code": "FAILED_PRECONDITION" if record.refused else "OK", "error_message": record.reason},
    }


async def model_metadata(registry: Registry, name: str, version: int | None) -> dict[str, Any]:
    """The signatures of a version; None means the default version.

    Raises:
        ModelNotFound, VersionNotFound, ModelNotReady: see ``Registry.described``.
    """
    model = await registry.described(name, version)
    return {
        "model_spec": {"name": name, "signature_name": "", "version": str(model.version)},
        "metadata": {
            "signature_def": {"signature_def": signature_defs(model)},
        },
    }


def signature_defs(model: LoadedModel) -> dict[str, dict[str, Any]]:
    """All signatures of a version by their names, the default one first."""
    return {name: _signature_def(each, name) for name, each in {model.signature: model, **model.signatures}.items()}


def _signature_def(model: LoadedModel, name: str) -> dict[str, Any]:
    """A signature: inputs and outputs with the batch, -1 is a size that varies; the defaults of a SavedModel's."""
    return {
        "inputs": {tensor.name: _tensor(tensor, f"{name}_{tensor.name}") for tensor in model.spec.inputs},
        "outputs": {tensor.name: _tensor(tensor, "StatefulPartitionedCall") for tensor in model.spec.outputs},
        "method_name": "tensorflow/serving/predict",
        "defaults": dict(model.defaults),
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
