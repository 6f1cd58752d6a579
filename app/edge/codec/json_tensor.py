"""JSON documents and the tensors in them, without a Python object per number.

simdjson returns the numbers of an array as one flat buffer without the nesting, so the nesting is checked separately:
every array is walked down to its rows, and the number of brackets in the document proves that nothing else is nested.
A document without the characters of numbers also shows the nesting. For small documents this form is cached, and its
arrays are not walked again. Documents that these fast paths cannot read are read again by the slow path, which explains
the error.
"""

import time
from functools import lru_cache
from math import prod

import numpy as np
import simdjson

from app.contract.files.json_text import MAX_DEPTH, MOST_VALUES, check_counts, check_values, read_json
from app.edge.codec.json_values import JsonValue, kind_of_value, members, plain, slow_tensor
from app.errors import InvalidInput
from app.types import Array

# All bytes of numbers, and white space. This also removes the "e" from words, but not their other letters.
OF_NUMBERS = b"0123456789+-.eE \t\r\n"
# Reading more than this holds the interpreter lock for tens of milliseconds at a time.
LOCKING_BYTES = 2**20
# Pause after each such step, for the event loop, which needs several turns for a request.
_REST_S = 0.01
_REMEMBERED_BYTES = 16_384
_REMEMBERED = 64


class JsonReader:
    """Parses request bodies. Keeps the parser's buffers between requests.

    Args:
        fallback_limit_bytes: bodies up to this size are parsed again with the stdlib parser if simdjson fails. It
            reads NaN, Infinity and integers of any size, and ignores bytes after the document.
    """

    def __init__(self, *, fallback_limit_bytes: int) -> None:
        self._fallback_limit_bytes = fallback_limit_bytes
        self._parser = simdjson.Parser()
        self._shapes: dict[bytes, tuple[int, ...]] = {}

    def read(self, body: bytes, *, strict: bool = False) -> "Document":
        """Parse ``body``, which must be a JSON object.

        Args:
            body: UTF-8.
            strict: refuse bytes after the document, which TensorFlow Serving accepts.

        Raises:
            InvalidInput: not JSON (with the offset), not UTF-8, not an object, or refused by ``check_keys``.
            TooLarge: see ``check_counts``.
        """
        check_counts(body)
        _let_others_run(body)
        try:
            root = self._parse(body)
        except (ValueError, RuntimeError, UnicodeDecodeError) as error:
            root = self._fall_back(body, error, strict=strict)
        _let_others_run(body)
        if not isinstance(root, simdjson.Object | dict):
            raise InvalidInput(f"the JSON document is {kind_of_value(root)}; send an object {{key: value}}")
        return Document(root, body, shapes=self._shapes)

    def _parse(self, body: bytes) -> JsonValue:
        try:
            return self._parser.parse(body)
        except RuntimeError:
            # A document of an earlier request is still referenced and keeps this parser; use a new one.
            self._parser = simdjson.Parser()
            return self._parser.parse(body)

    def _fall_back(self, body: bytes, error: Exception, *, strict: bool) -> JsonValue:
        if len(body) > self._fallback_limit_bytes:
            raise InvalidInput(f"JSON Parse error: {error}") from error
        return read_json(body, strict=strict)


class Document:
    """One parsed JSON object.

    Args:
        root: the object.
        body: the text of the object; empty if there is no text.
        shapes: cache for documents whose only member is an array of numbers: document without the characters of
            numbers -> shape of the nesting; this class adds entries.
    """

    def __init__(self, root: JsonValue, body: bytes = b"", *, shapes: dict[bytes, tuple[int, ...]]) -> None:
        self._members = members(root)
        self._body = body
        self._shapes = shapes

    def keys(self) -> set[str]:
        """Names of the members."""
        return set(self._members)

    def has(self, key: str) -> bool:
        """Whether there is such a member."""
        return key in self._members

    def get(self, key: str) -> JsonValue:
        """A member, or None."""
        return self._members.get(key)

    def tensor(self, value: JsonValue, name: str) -> Array | None:
        """The numbers of a nested array.

        Args:
            value: a member of this document.
            name: name of the value in errors.

        Returns:
            int64, uint64, float64 or bool with the shape of the nesting; None if the array contains only strings and
            objects, or is a list that contains one; the caller handles these.

        Raises:
            InvalidInput: ragged, or an element is not a number.
        """
        if isinstance(value, simdjson.Array):
            if len(self._body) > MOST_VALUES and _has_strings(self._body):
                check_values(self._body, name)  # before reading millions of numbers for nothing
            rest = self._body.translate(None, OF_NUMBERS) if len(self._body) <= _REMEMBERED_BYTES else b""
            known = self._shapes.get(rest)
            shape = known or _rectangle(value)
            if shape is not None and (known or self._body.count(b"[") == _brackets(shape)):
                flat = self._numbers(value)
                # An empty array and an array of one number look the same in ``rest``; only the latter has a count.
                if flat is not None and flat.size == prod(shape):
                    if not known and rest.count(b'"') == 2:
                        self._remember(rest, shape)
                    return flat.reshape(shape)
            check_values(self._body, name)
        return slow_tensor(plain(value), name)

    def _numbers(self, value: JsonValue) -> Array | None:
        """All numbers of a nested array; int64 or uint64 if all are whole, None if an element is not a number.

        Integers are cheaper to check against an integer input than float64.
        """
        for code, dtype in (("i", np.int64), ("u", np.uint64), ("d", np.float64)):
            try:
                return np.frombuffer(value.as_buffer(of_type=code), dtype=dtype)
            except (TypeError, ValueError):
                pass
            finally:
                _let_others_run(self._body)
        return None

    def _remember(self, rest: bytes, shape: tuple[int, ...]) -> None:
        if len(self._shapes) >= _REMEMBERED:
            self._shapes.clear()
        self._shapes[rest] = shape

    def flat_or_nested(self, value: JsonValue, shape: tuple[int, ...], name: str, *, other_brackets: int) -> Array:
        """The numbers of an array whose shape is known; the array may be nested in that shape or flat.

        Args:
            value: a member of this document.
            shape: of the result.
            name: name of the value in errors.
            other_brackets: number of ``[`` in the document outside ``value``; -1 if not known.

        Returns:
            int64, uint64, float64 or bool of that shape.

        Raises:
            InvalidInput: wrong number of values, ragged, or an element is not a number.
        """
        forms = ((prod(shape),), shape)
        found = _rectangle(value) if isinstance(value, simdjson.Array) else None
        if found in forms and self._body.count(b"[") == other_brackets + _brackets(found):
            flat = self._numbers(value)
            if flat is not None:
                return flat.reshape(shape)
        check_values(self._body, name)
        tensor = slow_tensor(plain(value), name)
        if tensor is None or tensor.ndim == 0:
            raise InvalidInput(f"{name} does not hold numbers only; expected {prod(shape)} numbers, flat or nested")
        if tensor.shape not in forms:
            raise InvalidInput(
                f"{name} holds {tensor.size} values, nested as {list(tensor.shape)}; "
                f"shape {list(shape)} requires {prod(shape)}, flat or nested in that shape"
            )
        return tensor.reshape(shape)


def _let_others_run(body: bytes) -> None:
    """Pause between two steps over a large document."""
    if len(body) > LOCKING_BYTES:
        time.sleep(_REST_S)


def _has_strings(body: bytes) -> bool:
    """Whether the arrays of a document contain a quote."""
    return body.find(b'"', body.find(b"["), body.rfind(b"]")) >= 0


def _rectangle(value: JsonValue) -> tuple[int, ...] | None:
    """Shape of a nested array; None if arrays of one level differ in length, or if it is empty or too deep."""
    shape: list[int] = []
    level = [value]
    while True:
        length = len(level[0])
        for array in level:
            if len(array) != length:
                return None
        shape.append(length)
        if length == 0 or len(shape) > MAX_DEPTH:
            return None
        if not isinstance(level[0][0], simdjson.Array):
            return tuple(shape)
        level = [item for array in level for item in array]
        if not all(isinstance(item, simdjson.Array) for item in level):
            return None


@lru_cache(maxsize=256)
def _brackets(shape: tuple[int, ...]) -> int:
    """Number of ``[`` in a nested array of that shape."""
    return 1 + sum(prod(shape[:i]) for i in range(1, len(shape)))
