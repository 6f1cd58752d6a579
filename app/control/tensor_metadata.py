"""Inputs and outputs as the metadata of the Open Inference Protocol list them."""

from collections.abc import Sequence
from typing import Any

from app.contract.tensor_spec import TensorSpec


def tensor_metadata(tensors: Sequence[TensorSpec]) -> list[dict[str, Any]]:
    """Name, datatype and shape of each, with the batch; a size that varies is -1."""
    return [
        {"name": tensor.name, "datatype": tensor.oip_datatype, "shape": list(tensor.batch_shape)} for tensor in tensors
    ]
