"""JSON values as ordinary Python objects, and errors for values that are not tensors."""

from contextlib import suppress
from itertools import chain
from typing import Any

import numpy as np
import simdjson

from app.contract.files.json_text import MAX_DEPTH, check_keys, too_deep
from app.errors import InvalidInput
from app.types import Array

JsonValue = Any  # str, int, float, bool, None, list, dict, or a simdjson proxy of the last two
_PROXIES = frozenset({simdjson.Array, simdjson.Object})


def is_array(value: JsonValue) -> bool:
    """Whether a value is a JSON array."""
    return isinstance(value, list | simdjson.Array)


def members(value: JsonValue) -> dict[str, JsonValue]:
    """The members of an object, without conversion.

    Raises:
        InvalidInput: see ``check_keys``.
    """
    if isinstance(value, dict):
        return value
    keys = list(value.keys())
    check_keys(keys)
    return {key: value[key] for key in keys}  # ``items`` of simdjson would convert the whole content to Python objects


def plain(value: JsonValue, *, depth: int = 1) -> JsonValue:
    """A value as ordinary Python objects.

    simdjson's own conversion drops duplicate keys, has no useful limit on the depth, and converts a long array in one
    call, which blocks the interpreter and the event loop until it returns.

    Args:
        value: a member of a document.
        depth: number of arrays and objects around it.

    Raises:
        InvalidInput: arrays or objects are nested too deep, or see ``check_keys``.
    """
    kind = type(value)
    if kind not in _PROXIES:
        return value
    if depth > MAX_DEPTH:
        raise too_deep()
    deeper = depth + 1
    if kind is simdjson.Array:
        return [plain(item, depth=deeper) if type(item) in _PROXIES else item for item in value]
    return {key: plain(item, depth=deeper) for key, item in members(value).items()}


def slow_tensor(value: JsonValue, name: str) -> Array | None:
    """``Document.tensor`` for ordinary Python objects."""
    shape, level = nesting(value, name)
    other = [isinstance(item, str | dict) for item in level]
    if (other and all(other)) or (len(shape) < 2 and any(other)):
        return None
    kinds = set(map(type, level))
    if kinds == {bool}:
        return np.array(level).reshape(shape)
    for index, item in enumerate(level if kinds - {int, float} else ()):
        if isinstance(item, bool) or not isinstance(item, int | float):
            raise InvalidInput(f"{name}{place_of(index, shape)} is {kind_of_value(item)}; expected a number")
    for dtype in (np.int64, np.uint64, np.float64) if kinds == {int} else (np.float64,):
        with suppress(OverflowError):
            return np.array(level, dtype=dtype).reshape(shape)
    raise InvalidInput(f"{name} holds an integer that does not fit 64 bits")


def nesting(value: JsonValue, name: str) -> tuple[list[int], list[JsonValue]]:
    """Shape and elements of nested lists; a value that is not a list has no dimension.

    Raises:
        InvalidInput: lists of one level differ in length.
    """
    shape: list[int] = []
    level: list[JsonValue] = [value]
    while level and all(isinstance(item, list) for item in level):
        lengths = [len(item) for item in level]
        if len(set(lengths)) > 1:
            odd = next(i for i, length in enumerate(lengths) if length != lengths[0])
            raise InvalidInput(
                f"{name}{place_of(odd, shape)} has {lengths[odd]} values, {name}{place_of(0, shape)} has "
                f"{lengths[0]}; all rows must share one shape"
            )
        shape.append(lengths[0])
        level = list(chain.from_iterable(level))
    return shape, level


def kind_of_value(value: JsonValue) -> str:
    """The type of a JSON value, for errors."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return "a number"
    if isinstance(value, str):
        return "a string"
    return "an array" if is_array(value) else "an object"


def place_of(index: int, shape: list[int]) -> str:
    """Flat index to ``[i][j]``."""
    text = ""
    for size in reversed(shape):
        index, rest = divmod(index, size)
        text = f"[{rest}]{text}"
    return text
