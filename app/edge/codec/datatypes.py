"""Datatypes of the Open Inference Protocol, and conversion between raw bytes and arrays.

Source: Open Inference Protocol, tensor data types; Triton, binary tensor data extension.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from app.contract.bfloat16 import BFLOAT16, widened
from app.contract.dtypes import NAMES, DType, numpy_dtype
from app.contract.strings import MOST_STRINGS, split_prefixed
from app.errors import InvalidInput, TooLarge, quoted
from app.types import Array

BYTES, BF16 = "BYTES", "BF16"
_SAME_KIND = {"b": "b", "u": "u", "i": "iu", "f": "f"}
# Datatype of numbers -> the dtype of its bytes; of BF16, of its bits.
NUMPY: dict[str, np.dtype[np.generic]] = {
    "BOOL": np.dtype("?"),
    "UINT8": np.dtype("u1"),
    "UINT16": np.dtype("<u2"),
    "UINT32": np.dtype("<u4"),
    "UINT64": np.dtype("<u8"),
    "INT8": np.dtype("i1"),
    "INT16": np.dtype("<i2"),
    "INT32": np.dtype("<i4"),
    "INT64": np.dtype("<i8"),
    "FP16": np.dtype("<f2"),
    BF16: np.dtype("<u2"),
    "FP32": np.dtype("<f4"),
    "FP64": np.dtype("<f8"),
}
BINARY_ONLY = {"FP16", BF16}
# Datatypes whose bytes do not become an array as they are.
CONVERTED = frozenset({BYTES, BF16})


def _widens(dtype: DType) -> frozenset[str]:
    """Further datatypes that an element type accepts: those of the same kind whose values it represents exactly."""
    if dtype == BFLOAT16:
        return frozenset()
    own = numpy_dtype(dtype)
    found = {
        name
        for name, given in NUMPY.items()
        if name != BF16 and given.kind in _SAME_KIND.get(own.kind, "") and given != own and np.can_cast(given, own)
    }
    return frozenset(found | {BF16} if dtype in {"float32", "float64"} else found)


# Element type of a signature -> further datatypes that it accepts.
WIDENS: dict[DType, frozenset[str]] = {dtype: _widens(dtype) for dtype in NAMES}

# Numbers converted between two turns of other threads.
_AT_ONCE = 2**16


def array_from_bytes(data: bytes | memoryview, datatype: str, shape: list[int]) -> Array:
    """A tensor from its little-endian, row-major bytes, without a copy if they are aligned.

    Args:
        data: exactly the bytes of the tensor.
        datatype: a key of ``NUMPY`` other than ``BF16``.
        shape: of the whole tensor.
    """
    values = np.frombuffer(data, dtype=NUMPY[datatype]).reshape(shape)
    return values if values.flags.aligned else values.copy()


def array_from_bits(data: bytes | memoryview, shape: list[int]) -> Array:
    """A tensor of BF16 as float32, from its little-endian, row-major bytes."""
    return widened(np.frombuffer(data, NUMPY[BF16]).reshape(shape))


def array_from_numbers(values: Sequence[Any], dtype: np.dtype[Any]) -> Array:
    """The numbers of a repeated field of a message, one after the other.

    NumPy keeps the interpreter while it converts, 20 ns for each: 16 MB of small numbers were 0.3 s in which no other
    thread ran. So other threads have a turn after each part.

    Args:
        values: that the element type can represent.
        dtype: of the array.
    """
    array = np.empty(len(values), dtype)
    for start in range(0, len(values), _AT_ONCE):
        array[start : start + _AT_ONCE] = values[start : start + _AT_ONCE]
    return array


def split_bytes(data: bytes | memoryview, name: str) -> list[bytes]:
    """Elements of a BYTES tensor; see ``length_prefixed``.

    Raises:
        InvalidInput: an element extends beyond the end of the data.
        TooLarge: more than ``MOST_STRINGS`` elements.
    """
    try:
        elements, end = split_prefixed(data, most=MOST_STRINGS)
    except ValueError as error:
        raise InvalidInput(f"input {quoted(name)}: {error}") from error
    if end < len(data):
        raise TooLarge(f"input {quoted(name)} holds more than {MOST_STRINGS} strings")
    return elements
