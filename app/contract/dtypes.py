"""The element types of tensors, and their names in every format that Atelier reads or writes."""

from typing import Any, Literal, NamedTuple

import numpy as np

DType = Literal[
    "bool",
    "uint8",
    "uint16",
    "uint32",
    "uint64",
    "int8",
    "int16",
    "int32",
    "int64",
    "float16",
    "bfloat16",
    "float32",
    "float64",
    "string",
]


class Names(NamedTuple):
    """Names of one element type.

    Attributes:
        oip: in the Open Inference Protocol.
        tensorflow: in TensorFlow's protocol buffers.
        onnx: of a tensor's type in ONNX Runtime.
    """

    oip: str
    tensorflow: str
    onnx: str

    @property
    def triton(self) -> str:
        """In Triton's model configuration."""
        return f"TYPE_{'STRING' if self.oip == 'BYTES' else self.oip}"


# model.json's name, which is numpy's except for strings and bfloat16 -> the others.
NAMES: dict[DType, Names] = {
    "bool": Names("BOOL", "DT_BOOL", "tensor(bool)"),
    "uint8": Names("UINT8", "DT_UINT8", "tensor(uint8)"),
    "uint16": Names("UINT16", "DT_UINT16", "tensor(uint16)"),
    "uint32": Names("UINT32", "DT_UINT32", "tensor(uint32)"),
    "uint64": Names("UINT64", "DT_UINT64", "tensor(uint64)"),
    "int8": Names("INT8", "DT_INT8", "tensor(int8)"),
    "int16": Names("INT16", "DT_INT16", "tensor(int16)"),
    "int32": Names("INT32", "DT_INT32", "tensor(int32)"),
    "int64": Names("INT64", "DT_INT64", "tensor(int64)"),
    "float16": Names("FP16", "DT_HALF", "tensor(float16)"),
    "bfloat16": Names("BF16", "DT_BFLOAT16", "tensor(bfloat16)"),
    "float32": Names("FP32", "DT_FLOAT", "tensor(float)"),
    "float64": Names("FP64", "DT_DOUBLE", "tensor(double)"),
    "string": Names("BYTES", "DT_STRING", "tensor(string)"),
}


_OTHERS: dict[str, Any] = {"string": object, "bfloat16": np.float32}


def numpy_dtype(dtype: DType) -> np.dtype[Any]:
    """The dtype of an array of such elements. Strings are ``bytes`` objects, bfloat16 is float32 of the same value."""
    found: np.dtype[Any] = np.dtype(_OTHERS.get(dtype, dtype))
    return found


def wire_dtype(dtype: DType) -> np.dtype[Any]:
    """The little-endian dtype of such elements in raw bytes; of bfloat16 that of its bits, see ``bfloat16``."""
    own = np.dtype(np.uint16) if dtype == "bfloat16" else numpy_dtype(dtype)
    return own.newbyteorder("<")
