"""JSON documents and the tensors in them, without a Python object per number; and tensors to JSON.

simdjson gives the numbers of an array as one flat buffer and forgets the nesting, so the nesting is checked apart:
every array is walked down to the rows, and the number of brackets in the document proves that nothing else is nested.
Whatever that fast way cannot read is read again by the slow one, which says what is wrong.
"""

import json
from functools import lru_cache
from itertools import chain
from math import prod
from typing import Any

import numpy as np
import orjson
import simdjson

from app.errors import InvalidInput
from app.runtime.backend import Array

_LONG = 1_000

JsonValue = Any  # str, int, float, bool, None, list, dict, or a simdjson proxy of the last two


class JsonReader:
    """Parses request bodies; holds the parser's buffers between requests.

    Args:
        fallback_limit_bytes: bodies up to this size get a second chance with the stdlib parser, which reads
            NaN and Infinity and integers of any size, and ignores bytes after the document.
    """

    def __init__(self, *, fallback_limit_bytes: int) -> None:
        self._fallback_limit_bytes = fallback_limit_bytes
        self._parser = simdjson.Parser()

    def read(self, body: bytes, *, strict: bool = False) -> "Document":
        """Parse ``body``, which must hold a JSON object.

        Args:
            body: UTF-8.
            strict: refuse what TensorFlow Serving reads all the same: bytes after the document.

        Raises:
            InvalidInput: not JSON (with the offset), not UTF-8, or not an object.
        """
        try:
            root = self._parse(body)
        except (ValueError, RuntimeError, UnicodeDecodeError) as error:
            root = self._fall_back(body, error, strict=strict)
        if not isinstance(root, simdjson.Object | dict):
            raise InvalidInput(f"the JSON document is {kind_of_value(root)}; send an object {{key: value}}")
        return Document(root, brackets=body.count(b"["))

    def _parse(self, body: bytes) -> JsonValue:
        try:
            return self._parser.parse(body)
        except RuntimeError:
            # A document of an earlier request is still referenced somewhere; leave it its parser.
            self._parser = simdjson.Parser()
            return self._parser.parse(body)

    def _fall_back(self, body: bytes, error: Exception, *, strict: bool) -> JsonValue:
        if len(body) > self._fallback_limit_bytes:
            raise InvalidInput(f"JSON Parse error: {error}") from error
        try:
            text = body.decode("utf-8")
            root, end = json.JSONDecoder().raw_decode(text, len(text) - len(text.lstrip()))
            if strict and text[end:].strip():
                raise InvalidInput(f"JSON Parse error: unexpected content after the document at offset: {end}")
            return root
        except UnicodeDecodeError as bad:
            raise InvalidInput(f"JSON Parse error: body is not UTF-8 at offset: {bad.start}") from bad
        except json.JSONDecodeError as bad:
            raise InvalidInput(f"JSON Parse error: {bad.msg} at offset: {bad.pos}") from bad
        except RecursionError as bad:
            raise InvalidInput("JSON Parse error: arrays or objects are nested too deep") from bad
        except ValueError as bad:
            raise InvalidInput("JSON Parse error: an integer has too many digits") from bad


class Document:
    """One parsed JSON object.

    Args:
        root: the object.
        brackets: number of ``[`` in the document.
    """

    def __init__(self, root: JsonValue, *, brackets: int) -> None:
        self._root = root
        self._brackets = brackets

    def keys(self) -> set[str]:
        """Names of the members."""
        return set(self._root.keys())

    def get(self, key: str) -> JsonValue:
        """A member, or None."""
        return self._root[key] if key in self._root.keys() else None  # noqa: SIM118 - the proxy has no `in`

    def tensor(self, value: JsonValue, name: str) -> Array | None:
        """The numbers of a nested array.

        Args:
            value: a member of this document.
            name: what to call it in errors.

        Returns:
            int64 or float64 with the shape of the nesting; None when the array holds only strings and objects, or is a
            list with one among its elements, for the caller to look at.

        Raises:
            InvalidInput: ragged, or anything but a number where a number belongs.
        """
        if isinstance(value, simdjson.Array):
            shape = _rectangle(value)
            if shape is not None and self._brackets == _brackets(shape):
                flat = _numbers(value)
                if flat is not None:
                    return flat.reshape(shape)
        return slow_tensor(plain(value), name)

    def flat_or_nested(self, value: JsonValue, shape: tuple[int, ...], name: str, *, other_brackets: int) -> Array:
        """The numbers of an array of stated shape, whether it is nested like that or flat.

        Args:
            value: a member of this document.
            shape: of the result.
            name: what to call it in errors.
            other_brackets: number of ``[`` in the document outside ``value``; -1 when that is not known.

        Returns:
            int64 or float64 of that shape.

        Raises:
            InvalidInput: another number of values, ragged, or anything but a number where a number belongs.
        """
        forms = ((prod(shape),), shape)
        found = _rectangle(value) if isinstance(value, simdjson.Array) else None
        if found in forms and self._brackets == other_brackets + _brackets(found):
            flat = _numbers(value)
            if flat is not None:
                return flat.reshape(shape)
        tensor = slow_tensor(plain(value), name)
        if tensor is None or tensor.ndim == 0:
            raise InvalidInput(f"{name} does not hold numbers only; wanted {prod(shape)} numbers, flat or nested")
        if tensor.shape not in forms:
            raise InvalidInput(
                f"{name} holds {tensor.size} values, nested as {list(tensor.shape)}; "
                f"shape {list(shape)} wants {prod(shape)}, flat or nested like that"
            )
        return tensor.reshape(shape)


def is_array(value: JsonValue) -> bool:
    """Whether a value is a JSON array."""
    return isinstance(value, list | simdjson.Array)


def plain(value: JsonValue) -> JsonValue:
    """A value as ordinary Python objects."""
    if isinstance(value, simdjson.Array):
        # One call for all of a long array would hold the interpreter, and with it the event loop, until its end.
        return value.as_list() if len(value) <= _LONG else [plain(item) for item in value]
    if isinstance(value, simdjson.Object):
        return value.as_dict()
    return value


def slow_tensor(value: JsonValue, name: str) -> Array | None:
    """``Document.tensor`` for ordinary Python objects."""
    shape: list[int] = []
    level: list[JsonValue] = [value]
    while level and all(isinstance(item, list) for item in level):
        lengths = [len(item) for item in level]
        if len(set(lengths)) > 1:
            odd = next(i for i, length in enumerate(lengths) if length != lengths[0])
            raise InvalidInput(
                f"{name}{_place(odd, shape)} has {lengths[odd]} values, {name}{_place(0, shape)} has {lengths[0]}; "
                f"all rows must share one shape"
            )
        shape.append(lengths[0])
        level = list(chain.from_iterable(level))
    other = [isinstance(item, str | dict) for item in level]
    if (other and all(other)) or (len(shape) < 2 and any(other)):
        return None
    for index, item in enumerate(level):
        if isinstance(item, bool) or not isinstance(item, int | float):
            raise InvalidInput(f"{name}{_place(index, shape)} is {kind_of_value(item)}; wanted a number")
    try:
        return np.array(level, dtype=np.float64).reshape(shape)
    except OverflowError as error:
        raise InvalidInput(f"{name} holds an integer that does not fit 64 bits") from error


def _numbers(value: JsonValue) -> Array | None:
    """All numbers of a nested array, as int64 if every one is written as a whole number; None if not all are numbers.

    Whole numbers are cheaper to check against an integer input than their float64.
    """
    for code, dtype in (("i", np.int64), ("d", np.float64)):
        try:
            return np.frombuffer(value.as_buffer(of_type=code), dtype=dtype)
        except (TypeError, ValueError):
            pass
    return None


def _rectangle(value: JsonValue) -> tuple[int, ...] | None:
    """Shape of a nested array if every array of a level is equally long; None if not, or if it is empty."""
    shape: list[int] = []
    level = [value]
    while True:
        length = len(level[0])
        for array in level:
            if len(array) != length:
                return None
        shape.append(length)
        if length == 0:
            return None
        if not isinstance(level[0][0], simdjson.Array):
            return tuple(shape)
        level = [item for array in level for item in array]
        if not all(isinstance(item, simdjson.Array) for item in level):
            return None


@lru_cache(maxsize=256)
def _brackets(shape: tuple[int, ...]) -> int:
    """Number of ``[`` in an array nested like that."""
    return 1 + sum(prod(shape[:i]) for i in range(1, len(shape)))


def _place(index: int, shape: list[int]) -> str:
    """Flat index to ``[i][j]``."""
    text = ""
    for size in reversed(shape):
        index, rest = divmod(index, size)
        text = f"[{rest}]{text}"
    return text


def kind_of_value(value: JsonValue) -> str:
    """What to call a JSON value in an error."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return "a number"
    if isinstance(value, str):
        return "a string"
    return "an array" if is_array(value) else "an object"


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
