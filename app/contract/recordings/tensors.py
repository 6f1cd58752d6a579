"""One tensor of a recorded instance as JSON, without loss.

==================================================== ===========================================================
``{"text": "Moving and funny."}``                    a text, as the client sent it
``{"dtype": "float32", "shape": [2], "values": []}`` up to 64 numbers, row-major
``{"dtype": "uint8", "shape": [28, 28], "b64": ""}`` more numbers, or some that are not finite: little-endian bytes,
                                                     row-major, in Base64
``{"dtype": "string", "shape": [], "values": []}``   strings: texts, or ``{"b64": ""}`` for bytes that are not UTF-8
==================================================== ===========================================================
"""

from base64 import b64decode, b64encode
from collections.abc import Mapping
from math import prod
from typing import Any

import numpy as np

from app.contract.strings import string_array
from app.types import Array

MOST_VALUES = 64
"""Most numbers of a tensor that are written as numbers; more of them are longer than Base64, and nobody reads them."""
# Kinds of NumPy's dtypes that are read back: booleans, whole numbers and floats.
_KINDS = "biuf"


def to_json(values: Array) -> dict[str, Any]:
    """One instance of a tensor.

    Args:
        values: (*shape), numbers or ``bytes`` objects.
    """
    shape = list(values.shape)
    if values.dtype.kind == "O":
        return {"dtype": "string", "shape": shape, "values": [_string(each) for each in values.flat]}
    described = {"dtype": values.dtype.name, "shape": shape}
    if values.size <= MOST_VALUES and (values.dtype.kind != "f" or np.isfinite(values).all()):
        return {**described, "values": values.ravel().tolist()}
    little = np.ascontiguousarray(values, values.dtype.newbyteorder("<"))
    return {**described, "b64": b64encode(little.tobytes()).decode()}


def from_json(document: Mapping[str, Any]) -> Array | str:
    """The tensor (*shape) that ``to_json`` wrote, or a text.

    Raises:
        ValueError, KeyError, TypeError: the document has another form.
    """
    if "text" in document:
        return str(document["text"])
    shape = tuple(int(size) for size in document["shape"])
    if document["dtype"] == "string":
        return string_array([_bytes(each) for each in document["values"]], shape)
    dtype = np.dtype(document["dtype"])
    if dtype.kind not in _KINDS:
        raise ValueError(f"dtype is {document['dtype']!r}; expected numbers")
    if "b64" in document:
        data = b64decode(document["b64"], validate=True)
        if len(data) != dtype.itemsize * prod(shape):
            raise ValueError(f"{len(data)} bytes do not make {dtype.name} of shape {shape}")
        return np.frombuffer(data, dtype.newbyteorder("<")).astype(dtype).reshape(shape)
    return np.array(document["values"], dtype).reshape(shape)


def _string(element: bytes) -> str | dict[str, str]:
    try:
        return element.decode()
    except UnicodeDecodeError:
        return {"b64": b64encode(element).decode()}


def _bytes(element: str | Mapping[str, str]) -> bytes:
    return element.encode() if isinstance(element, str) else b64decode(element["b64"], validate=True)
