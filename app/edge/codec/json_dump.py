"""Replies with tensors in them, as JSON."""

import json

import numpy as np
import orjson

from app.edge.codec.json_values import JsonValue
from app.runtime.backend import Array


def dump(value: dict[str, JsonValue]) -> bytes:
    """A document whose values may hold arrays.

    Floats are written in the shortest form that gives the same float32 again, NaN and Infinity as bare tokens.
    """
    body = orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY)
    if b"null" not in body or all(np.isfinite(array).all() for array in _arrays(value)):
        return body
    return json.dumps(value, default=_shortest).encode()  # orjson writes NaN and infinity as null


def _shortest(array: Array) -> list[JsonValue]:
    """Numbers whose text is as short as that of the array's own dtype."""
    values: list[JsonValue] = (array.astype("U").astype(np.float64) if array.dtype.kind == "f" else array).tolist()
    return values


def _arrays(value: JsonValue) -> list[Array]:
    if isinstance(value, np.ndarray):
        return [value]
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [array for item in items for array in _arrays(item)]
