"""Tensors of strings in JSON: a string is sent as its UTF-8, ``{"b64": ...}`` as any bytes.

Source: TensorFlow Serving, RESTful API, encoding binary values.
"""

import base64
import binascii
from collections.abc import Iterable

from app.contract.strings import string_array
from app.edge.codec.json_values import JsonValue, kind_of_value, nesting, place_of
from app.errors import InvalidInput
from app.types import Array


def is_b64(value: JsonValue) -> bool:
    """Whether a value is ``{"b64": ...}``."""
    return isinstance(value, dict) and len(value) == 1 and isinstance(value.get("b64"), str)


def read_element(value: JsonValue, place: str) -> bytes | str:
    """A string, or the bytes of ``{"b64": ...}``.

    Args:
        value: as ordinary Python objects.
        place: of the value, for errors.

    Raises:
        InvalidInput: the value is something else, or not base64.
    """
    if isinstance(value, str):
        return value
    if not is_b64(value):
        raise InvalidInput(f'{place} is {kind_of_value(value)}; send a string, or {{"b64": ...}}')
    try:
        return base64.b64decode(value["b64"], validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidInput(f"{place}: 'b64' is not valid base64: {error}") from error


def read_strings(value: JsonValue, name: str) -> Array:
    """Nested arrays of strings as a tensor with the shape of the nesting.

    Args:
        value: as ordinary Python objects.
        name: of the value, for errors.

    Raises:
        InvalidInput: ragged, or an element is not a string.
    """
    shape, elements = nesting(value, name)
    read = [read_element(each, f"{name}{place_of(index, shape)}") for index, each in enumerate(elements)]
    return string_array(as_bytes(read, name), shape)


def as_bytes(elements: Iterable[bytes | str], name: str) -> list[bytes]:
    """Elements of the tensor ``name``, texts in UTF-8.

    Raises:
        InvalidInput: a text is not Unicode.
    """
    try:
        return [each.encode() if isinstance(each, str) else each for each in elements]
    except UnicodeEncodeError as error:  # half of a surrogate pair, which JSON can write
        raise InvalidInput(f"{name} holds a string that is not Unicode: {error.reason}") from error


def print_strings(values: Array, *, b64: bool = False) -> list[JsonValue]:
    """Strings as nested lists of JSON values.

    Args:
        values: object array of ``bytes`` with at least one dimension.
        b64: write all of them as ``{"b64": ...}``, not only those that are not UTF-8.
    """
    elements = [_printed(each, b64=b64) for each in values.ravel()]
    listed: list[JsonValue] = string_array(elements, values.shape).tolist()
    return listed


def _printed(element: bytes, *, b64: bool) -> JsonValue:
    if not b64:
        try:
            return element.decode()
        except UnicodeDecodeError:
            pass
    return {"b64": base64.b64encode(element).decode()}
