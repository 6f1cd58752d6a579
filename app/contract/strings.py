"""Tensors of strings: object arrays of ``bytes``, of any length, also 0, and with any content."""

import struct
from collections.abc import Iterable, Sequence
from itertools import pairwise
from sys import getsizeof
from typing import Any

import numpy as np

from app.types import Array

# Of an empty ``bytes`` object, and the reference to it in the array.
ELEMENT_BYTES = getsizeof(b"") + 8
# Most strings in one tensor.
MOST_STRINGS = 2**18
_LENGTH = struct.Struct("<I")
# In front of each string of ``length_prefixed``.
PREFIX_BYTES = _LENGTH.size
_FORM = f"each element starts with its length, {PREFIX_BYTES} bytes, little-endian"


def string_array(elements: Sequence[Any], shape: Sequence[int]) -> Array:
    """Elements in row-major order as an object array of that shape; numpy would read them as sequences otherwise."""
    values = np.empty(len(elements), object)
    values[:] = elements
    return values.reshape(shape)


def encoded(values: Array) -> Array:
    """Texts (``str``) as UTF-8; elements that are ``bytes`` already stay as they are."""
    elements = [each.encode() if isinstance(each, str) else each for each in values.ravel()]
    return string_array(elements, values.shape)


def decoded(values: Array) -> Array:
    """UTF-8 as texts (``str``); elements that are texts already stay as they are. Raises UnicodeDecodeError."""
    elements = [each.decode() if isinstance(each, bytes) else each for each in values.ravel()]
    return string_array(elements, values.shape)


def held_bytes(values: Array) -> int:
    """Bytes of memory that an array needs, strings with all that belongs to them."""
    if values.dtype.kind != "O":
        return values.nbytes
    return content_bytes(values) + ELEMENT_BYTES * values.size


def content_bytes(values: Array) -> int:
    """Bytes of the strings themselves."""
    return sum(map(len, values.ravel()))


def packed(values: Array) -> tuple[Array, bytes]:
    """The lengths of all elements, uint32 in the shape of the array, and the elements one after the other."""
    elements = list(values.ravel())
    return np.fromiter(map(len, elements), np.uint32, len(elements)).reshape(values.shape), b"".join(elements)


def unpacked(lengths: Array, data: bytes | memoryview) -> Array:
    """The strings from the results of ``packed``.

    Raises:
        ValueError: the lengths do not add up to the length of the data.
    """
    ends = [0, *np.cumsum(lengths, dtype=np.int64).tolist()]
    if ends[-1] != len(data):
        raise ValueError(f"the lengths of its strings add up to {ends[-1]}, and there are {len(data)} bytes")
    return string_array([bytes(data[start:end]) for start, end in pairwise(ends)], lengths.shape)


def length_prefixed(elements: Iterable[bytes]) -> bytes:
    """Strings one after the other, each as its length (uint32, little-endian) followed by that many bytes.

    Source: Triton, binary tensor data extension (BYTES); files of ``model_warmup`` have the same form.
    """
    return b"".join(_LENGTH.pack(len(element)) + element for element in elements)


def split_prefixed(data: bytes | memoryview, *, most: int) -> tuple[list[bytes], int]:
    """The first strings of the result of ``length_prefixed``, and the position of the first byte after them.

    Args:
        data: the bytes.
        most: strings to read; bytes after them are not checked.

    Raises:
        ValueError: a string extends beyond the end of the data.
    """
    elements: list[bytes] = []
    start = 0
    while start < len(data) and len(elements) < most:
        begin = start + PREFIX_BYTES
        if begin > len(data):
            raise ValueError(f"element {len(elements)} ends within its length; {_FORM}")
        end = begin + _LENGTH.unpack_from(data, start)[0]
        if end > len(data):
            follow = f"{len(data) - begin} byte{' follows' if len(data) - begin == 1 else 's follow'}"
            raise ValueError(f"element {len(elements)} states the length {end - begin}, but {follow}; {_FORM}")
        elements.append(bytes(data[begin:end]))
        start = end
    return elements, start
