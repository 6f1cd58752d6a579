"""Replies with tensors, as JSON."""

import json
from typing import Any

import numpy as np
import orjson

from app.edge.codec.json_values import JsonValue
from app.types import Array

NUMBERS_AT_ONCE = 32_768
"""Numbers in one call of orjson, which takes some milliseconds."""


def dump(value: dict[str, JsonValue], *, size: int | None = None) -> bytes:
    """Encode a document whose values may be arrays.

    Floats are written in the shortest form that reads back as the same float32, NaN and Infinity as bare tokens.

    Args:
        value: the document.
        size: about how many numbers and texts it has, if that is known; see ``size_of``.
    """
    body = _dump(value, size=size)
    if b"null" not in body or all(np.isfinite(array).all() for array in _arrays(value)):
        return body
    return json.dumps(value, default=_shortest).encode()  # orjson writes NaN and infinity as null


def _dump(value: JsonValue, *, size: int | None = None) -> bytes:
    """Encode with orjson, large values in parts, since each call holds the interpreter lock until it returns."""
    if (size_of(value) if size is None else size) <= NUMBERS_AT_ONCE:
        return orjson.dumps(value, default=_scalar, option=orjson.OPT_SERIALIZE_NUMPY)
    if isinstance(value, dict):
        return b"{%b}" % b",".join(b"%b:%b" % (orjson.dumps(key), _dump(item)) for key, item in value.items())
    if isinstance(value, np.ndarray) and value[0].size <= NUMBERS_AT_ONCE:
        step = max(1, NUMBERS_AT_ONCE // max(1, value[0].size))
        parts = [_dump(value[start : start + step])[1:-1] for start in range(0, len(value), step)]
    else:
        parts = [_dump(item) for item in value]
    return b"[%b]" % b",".join(parts)


def _scalar(array: Array) -> Any:
    """The number of an array without dimensions, which orjson does not know."""
    return array[()] if array.dtype.kind == "f" else array.item()


def size_of(value: JsonValue) -> int:
    """The number of scalars (numbers, texts and so on) in a value."""
    if isinstance(value, np.ndarray):
        return value.size
    if not isinstance(value, dict | list):
        return 1
    size = 0
    for item in value.values() if isinstance(value, dict) else value:
        size += item.size if isinstance(item, np.ndarray) else size_of(item)
    return size


def _shortest(array: Array) -> list[JsonValue]:
    """Numbers that print as short as in the array's own dtype."""
    values: list[JsonValue] = (array.astype("U").astype(np.float64) if array.dtype.kind == "f" else array).tolist()
    return values


def _arrays(value: JsonValue) -> list[Array]:
    if isinstance(value, np.ndarray):
        return [value]
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [array for item in items for array in _arrays(item)]
