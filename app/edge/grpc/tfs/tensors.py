"""TensorFlow's TensorProto to tensors, and tensors to TensorProto.

Source: TensorFlow, tensor.proto and tensor.cc (``Tensor::FromProto``): elements are in ``tensor_content`` or in the
field of their type, where the last one is repeated for all that are missing; without elements they are zero.
"""

from collections.abc import Sequence
from math import prod
from typing import Any, NamedTuple

import numpy as np

from app.contract.bfloat16 import BFLOAT16, narrowed, widened
from app.contract.dtypes import NAMES, DType, numpy_dtype
from app.contract.strings import MOST_STRINGS
from app.contract.tensor_spec import TensorSpec
from app.edge.codec.datatypes import BYTES, array_from_bytes, array_from_numbers
from app.edge.codec.encoded import Encoded
from app.edge.grpc.tfs import serving_pb2 as pb
from app.edge.grpc.tfs.string_content import split_content
from app.edge.rest.oip_inputs import (
    MAX_DIMENSIONS,
    Declared,
    accepts,
    bytes_input,
    declare,
    expected_input,
    takes_media,
)
from app.errors import InvalidInput, TooLarge
from app.loaded import LoadedModel
from app.types import Array


class Element(NamedTuple):
    """How elements of one type are sent.

    Attributes:
        dtype: the type.
        field: of TensorProto, for values one by one.
        sent: type of the numbers in that field.
    """

    dtype: DType
    field: str
    sent: np.dtype[Any]


def _element(dtype: DType) -> Element:
    own = numpy_dtype(dtype)
    if dtype == "string":
        return Element(dtype, "string_val", own)
    if dtype in {"float16", BFLOAT16}:
        return Element(dtype, "half_val", np.dtype("i4"))
    if own.kind in "iu" and own.itemsize < 4:
        return Element(dtype, "int_val", np.dtype("i4"))
    fields = {"bool": "bool_val", "float32": "float_val", "float64": "double_val", "int32": "int_val"}
    return Element(dtype, fields.get(dtype, f"{dtype}_val"), own)


# TensorFlow's name of a type -> how its elements are sent.
ELEMENTS = {NAMES[dtype].tensorflow: _element(dtype) for dtype in NAMES}
_DTYPES: dict[int, str] = {number: name for name, number in pb.DataType.items()}
_VALUES = tuple(dict.fromkeys(element.field for element in ELEMENTS.values()))
# Fields whose values, one after the other, are the bytes of an array.
_PACKED = {"float32": 5, "float64": 6, "bool": 11}
_PACKED_KIND = 2


class Room:
    """Bytes that the tensors of a request may take beyond those that were sent.

    Args:
        limit_bytes: size of the largest message.
    """

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._left_bytes = limit_bytes

    def take(self, nbytes: int, name: str) -> None:
        """Reserve memory for elements of an input that were not sent one by one.

        Raises:
            TooLarge: the limit would be exceeded.
        """
        if nbytes > self._left_bytes:
            raise TooLarge(
                f"input {name!r} states few of its elements, and all of them take {nbytes} bytes; at most "
                f"{self._limit_bytes} bytes in a request, as in a message"
            )
        self._left_bytes -= nbytes


def sent_values(tensor: pb.TensorProto) -> int:
    """Elements that are sent one by one or not at all: each costs time. Bytes of numbers are used without a copy."""
    if tensor.tensor_content and tensor.dtype != pb.DT_STRING:
        return 0
    elements: int = prod(dim.size for dim in tensor.tensor_shape.dim[:MAX_DIMENSIONS])
    return max(len(tensor.tensor_content), abs(elements), *(len(getattr(tensor, field)) for field in _VALUES))


def read_tensor(tensor: pb.TensorProto, name: str, model: LoadedModel, room: Room) -> Array | Encoded:
    """The tensor of one input.

    Args:
        tensor: as sent.
        name: of the input in the signature.
        model: the model that receives it.
        room: for elements that were not sent.

    Raises:
        InvalidInput: names the input, the value and the rule it breaks.
        TooLarge: it states more elements than a request may have.
    """
    spec = model.spec.input(name)
    sent_as = _DTYPES.get(tensor.dtype, str(tensor.dtype))
    expected = NAMES[spec.dtype].tensorflow
    if (element := ELEMENTS.get(sent_as)) is None:
        raise InvalidInput(f"input {name!r} has dtype {sent_as}, which no model takes; send {expected}")
    datatype = NAMES[element.dtype].oip
    if not takes_media(spec, datatype, model) and not accepts(spec, datatype):
        raise InvalidInput(f"input {name!r} has dtype {sent_as}; model {model.name!r} expects {expected}")
    declared = declare(name, datatype, _shape(tensor.tensor_shape, name), "")
    expected_input(declared, model)
    if datatype == BYTES:
        return bytes_input(_strings(tensor, declared, room), declared, model)
    if element.dtype != BFLOAT16:
        return _numbers(tensor, element, declared, numpy_dtype(element.dtype), room)
    return widened(_numbers(tensor, element, Declared(name, "UINT16", declared.shape), np.dtype("u2"), room))


def write_tensor(values: Array, spec: TensorSpec) -> pb.TensorProto:
    """An output as TensorFlow Serving sends it: in the field of its type, each element one by one.

    Args:
        values: of the dtype of ``spec``, with the batch.
        spec: of the output.
    """
    element = ELEMENTS[NAMES[spec.dtype].tensorflow]
    tensor = pb.TensorProto()
    if (field := _PACKED.get(element.dtype)) is not None:
        data = values.astype(spec.wire_dtype, copy=False).tobytes()
        tensor.MergeFromString(b"".join((_varint(field << 3 | _PACKED_KIND), _varint(len(data)), data)))
    elif element.dtype == "float16":
        tensor.half_val.extend(np.ascontiguousarray(values).view("u2").ravel().tolist())
    elif spec.is_bfloat16:
        tensor.half_val.extend(narrowed(values).ravel().tolist())
    else:
        getattr(tensor, element.field).extend(values.ravel().tolist())
    tensor.dtype = pb.DataType.Value(NAMES[spec.dtype].tensorflow)
    for size in values.shape:
        tensor.tensor_shape.dim.add(size=size)
    tensor.tensor_shape.SetInParent()  # that of a scalar is empty, and there
    return tensor


def _shape(shape: pb.TensorShapeProto, name: str) -> list[int]:
    if shape.unknown_rank:
        raise InvalidInput(f"input {name!r} has a shape of unknown rank; send its sizes")
    if len(shape.dim) > MAX_DIMENSIONS:
        raise InvalidInput(
            f"input {name!r} has a shape of {len(shape.dim)} dimensions; at most {MAX_DIMENSIONS} are accepted"
        )
    return [dim.size for dim in shape.dim]


def _numbers(tensor: pb.TensorProto, element: Element, declared: Declared, dtype: np.dtype[Any], room: Room) -> Array:
    """A tensor of numbers, or of their bits."""
    name, shape, count = declared.name, declared.shape, prod(declared.shape)
    values = _values(tensor, element, declared)
    if tensor.tensor_content:
        if len(tensor.tensor_content) != count * dtype.itemsize:
            raise InvalidInput(
                f"tensor_content of input {name!r} has {len(tensor.tensor_content)} bytes; its shape {shape} has "
                f"{count * dtype.itemsize}"
            )
        return array_from_bytes(tensor.tensor_content, declared.datatype, shape)
    given = array_from_numbers(values, element.sent)
    if element.sent != dtype:
        given = _narrowed(given, np.dtype("u2") if element.field == "half_val" else dtype, element, name).view(dtype)
    if len(given) == count:
        return given.reshape(shape)
    room.take(count * dtype.itemsize, name)
    whole = np.full(count, given[-1] if len(given) else 0, dtype)
    whole[: len(given)] = given
    return whole.reshape(shape)


def _narrowed(values: Array, dtype: np.dtype[Any], element: Element, name: str) -> Array:
    """Numbers of 32 bits, converted to the type that they represent."""
    narrow = values.astype(dtype)
    if len(wrong := np.flatnonzero(narrow != values)):
        low, high = np.iinfo(dtype).min, np.iinfo(dtype).max
        raise InvalidInput(
            f"{element.field}[{wrong[0]}] of input {name!r} is {values[wrong[0]]}; it is outside {low} to {high}"
        )
    return narrow


def _strings(tensor: pb.TensorProto, declared: Declared, room: Room) -> Sequence[bytes]:
    """The elements of a tensor of strings."""
    name, count = declared.name, prod(declared.shape)
    if count > MOST_STRINGS:
        raise TooLarge(f"input {name!r} holds {count} strings; at most {MOST_STRINGS} are accepted")
    values = list(_values(tensor, ELEMENTS["DT_STRING"], declared))
    if tensor.tensor_content:
        return split_content(tensor.tensor_content, count, name)
    if len(values) == count:
        return values
    last = values[-1] if values else b""
    room.take((count - len(values)) * len(last), name)
    return values + [last] * (count - len(values))


def _values(tensor: pb.TensorProto, element: Element, declared: Declared) -> Sequence[Any]:
    """The elements that were sent one by one: in the field of their type, none in addition to tensor_content."""
    name, count = declared.name, prod(declared.shape)
    for field in _VALUES:
        if field != element.field and len(getattr(tensor, field)):
            raise InvalidInput(
                f"input {name!r} of dtype {_DTYPES[tensor.dtype]} has {field}; send {element.field} or tensor_content"
            )
    values: Sequence[Any] = getattr(tensor, element.field)
    if len(values) and tensor.tensor_content:
        raise InvalidInput(f"input {name!r} has both tensor_content and {element.field}; send one of them")
    if len(values) > count:
        raise InvalidInput(
            f"{element.field} of input {name!r} holds {len(values)} values; its shape {declared.shape} has {count}"
        )
    return values


def _varint(number: int) -> bytes:
    parts = bytearray()
    while number > 0x7F:
        parts.append(number & 0x7F | 0x80)
        number >>= 7
    parts.append(number)
    return bytes(parts)
