"""A limit on the fields of a protobuf message, checked before it is parsed.

Two bytes are enough for an empty input, which takes 190 when it is parsed, for a parameter, which takes 150 ns, or for
an empty string, which takes 50 ns: 13 MB became 1.2 GB, and 16 MB stopped the event loop for 1.3 s, or 0.4 s.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from google.protobuf.descriptor import FieldDescriptor

from app.errors import InvalidInput

# Smaller messages are parsed in any case.
SMALL_BYTES = 4_096
MOST_FIELDS = 2_048
# With those of all messages in it: an Example of one feature has seven fields, a string of a tensor is one.
MOST_DEEP_FIELDS = 16_384
_VARINT, _FIXED_64, _BYTES, _FIXED_32 = 0, 1, 2, 5
# Kind of a number of variable length -> its bytes in memory.
_IN_MEMORY = {
    FieldDescriptor.CPPTYPE_INT32: 4,
    FieldDescriptor.CPPTYPE_UINT32: 4,
    FieldDescriptor.CPPTYPE_ENUM: 4,
    FieldDescriptor.CPPTYPE_INT64: 8,
    FieldDescriptor.CPPTYPE_UINT64: 8,
}
_LARGEST_NUMBER = max(_IN_MEMORY.values())
# A byte of a number after which no other follows is smaller.
_CONTINUES = 0x80

Parts = Mapping[int, "Parts"]
"""Numbers of fields that are messages whose own fields count, too -> the same of these messages."""


@dataclass(frozen=True, slots=True)
class FieldLimit:
    """How many fields a message may have.

    Attributes:
        within: messages in it whose own fields count.
        most: fields of all of them together.
    """

    within: Parts = field(default_factory=dict)
    most: int = MOST_FIELDS


def parts_of(descriptor: Any) -> Parts:
    """All messages within a message, however deep; none of them may contain itself.

    Args:
        descriptor: of the message's type.
    """
    return {each.number: parts_of(each.message_type) for each in descriptor.fields if each.message_type is not None}


def check_fields(message: bytes, limit: FieldLimit = FieldLimit()) -> None:
    """Refuse a message with too many fields; stops after the last that is accepted.

    Args:
        message: as received.
        limit: which fields count, and how many are accepted.

    Raises:
        InvalidInput: more than that.
        ValueError: not a message, or one with groups, which no service uses.

    Source: Protocol Buffers documentation, Encoding.
    """
    if len(message) > SMALL_BYTES and _count(message, 0, len(message), limit.within, limit.most) < 0:
        raise InvalidInput(
            f"the message has {len(message)} bytes and more than {limit.most} fields; at most {limit.most} are accepted"
        )


def _count(message: bytes, at: int, end: int, within: Parts, left: int) -> int:
    """How many fields are left after those between two positions; negative if there are more."""
    while at < end and left >= 0:
        left -= 1
        tag, at = varint(message, at)
        kind = tag & 7
        if kind == _VARINT:
            _, at = varint(message, at)
        elif kind == _BYTES:
            length, at = varint(message, at)
            if (inner := within.get(tag >> 3)) is not None:
                left = _count(message, at, min(end, at + length), inner, left)
            at += length
        elif kind in {_FIXED_32, _FIXED_64}:
            at += 4 if kind == _FIXED_32 else 8
        else:
            raise ValueError(f"field of kind {kind}")
    return left


def check_numbers(message: bytes, descriptor: Any, limit_bytes: int) -> None:
    """Refuse a message whose packed whole numbers take more memory than a message may have bytes.

    A small number is one byte of the message and four or eight in memory: 16 MB stopped the event loop for up to 0.7 s.

    Args:
        message: accepted by ``check_fields``.
        descriptor: of its type.
        limit_bytes: most bytes of all such numbers in memory.

    Raises:
        InvalidInput: more than that.
    """
    if (
        len(message) * _LARGEST_NUMBER > limit_bytes
        and (nbytes := _number_bytes(message, 0, len(message), descriptor)) > limit_bytes
    ):
        raise InvalidInput(
            f"the whole numbers of the message have {nbytes} bytes; at most {limit_bytes} bytes are accepted"
        )


def _number_bytes(message: bytes, at: int, end: int, descriptor: Any) -> int:
    """Bytes in memory of the packed numbers of variable length between two positions."""
    count = 0
    while at < end:
        tag, at = varint(message, at)
        kind = tag & 7
        if kind == _VARINT:
            _, at = varint(message, at)
        elif kind == _BYTES:
            length, at = varint(message, at)
            length = min(length, end - at)
            field = descriptor.fields_by_number.get(tag >> 3)
            if field is not None and field.message_type is not None:
                count += _number_bytes(message, at, at + length, field.message_type)
            elif field is not None and (size := _IN_MEMORY.get(field.cpp_type)) is not None and length:
                ends = np.frombuffer(message, np.uint8, length, at) < _CONTINUES  # the last byte of each number
                count += size * int(np.count_nonzero(ends))
            at += length
        else:
            at += 4 if kind == _FIXED_32 else 8
    return count


def varint(message: bytes, at: int) -> tuple[int, int]:
    """The number at a position, and the position after it."""
    if at < len(message) and (first := message[at]) < 0x80:  # nearly every number
        return first, at + 1
    number = shift = 0
    for byte in message[at : at + 10]:
        number |= (byte & 0x7F) << shift
        at += 1
        if byte < 0x80:
            return number, at
        shift += 7
    raise ValueError("a number that does not end")
