"""Limits of the fields, texts and numbers of a protobuf message, checked before it is parsed.

Two bytes are enough for an empty input, which takes 190 when it is parsed, for a parameter, which takes 150 ns, or for
an empty string, which takes 50 ns: 13 MB became 1.2 GB, and 16 MB stopped the event loop for 1.3 s, or 0.4 s. A small
whole number is one byte, and four or eight in memory: 16 MB stopped it for up to 0.7 s. A name of 16 MB, once it is
copied and quoted in an error, stopped it for 0.1 to 0.5 s.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import inf
from typing import Any

import numpy as np
from google.protobuf.descriptor import FieldDescriptor

from app.errors import InvalidInput

# Smaller messages are parsed in any case.
SMALL_BYTES = 4_096
# With those of all messages in it: an Example of one feature has seven fields, a string of a tensor is one.
MOST_FIELDS = 16_384
# Names, ids, parameters, keys of maps: what Protocol Buffers call a string. Texts for a model are bytes.
MOST_TEXT_BYTES = 64 * 1024
_VARINT, _FIXED_64, _BYTES, _FIXED_32 = 0, 1, 2, 5
# Kind of a number of variable length -> its bytes in memory; a bool has one, but takes as long to parse as others.
_IN_MEMORY = {
    FieldDescriptor.CPPTYPE_BOOL: 4,
    FieldDescriptor.CPPTYPE_INT32: 4,
    FieldDescriptor.CPPTYPE_UINT32: 4,
    FieldDescriptor.CPPTYPE_ENUM: 4,
    FieldDescriptor.CPPTYPE_INT64: 8,
    FieldDescriptor.CPPTYPE_UINT64: 8,
}
_TEXT = 0
# A byte of a number after which no other follows is smaller.
_CONTINUES = 0x80

Parts = Mapping[int, "Parts | int"]
"""Numbers of fields -> of messages whose own fields count, too, the same; of whole numbers, their bytes in memory; of
texts 0."""


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
    """All messages within a message, at any depth, its texts and whole numbers; no message may contain itself.

    Args:
        descriptor: of the message's type.
    """
    parts: dict[int, Parts | int] = {}
    for each in descriptor.fields:
        if each.message_type is not None:
            parts[each.number] = parts_of(each.message_type)
        elif each.type == FieldDescriptor.TYPE_STRING:
            parts[each.number] = _TEXT
        elif (size := _IN_MEMORY.get(each.cpp_type)) is not None:
            parts[each.number] = size
    return parts


def check_fields(message: bytes, limit: FieldLimit = FieldLimit(), number_bytes: float = inf) -> None:
    """Refuse a message with too many fields, which stops after the last that is accepted, or numbers, or a long text.

    Args:
        message: as received.
        limit: which fields count, and how many are accepted.
        number_bytes: most bytes in memory of packed whole numbers, of those that ``limit`` names.

    Raises:
        InvalidInput: more than that.
        ValueError: not a message, or one with groups, which no service uses.

    Source: Protocol Buffers documentation, Encoding.
    """
    if len(message) <= SMALL_BYTES:
        return
    tally = _Tally(limit.most, may_exceed=len(message) * max(_IN_MEMORY.values()) > number_bytes)
    _count(message, 0, len(message), limit.within, tally)
    if tally.left < 0:
        raise InvalidInput(
            f"the message has {len(message)} bytes and more than {limit.most} fields; at most {limit.most} are accepted"
        )
    if tally.number_bytes > number_bytes:
        raise InvalidInput(
            f"the whole numbers of the message have {tally.number_bytes} bytes; at most {number_bytes} bytes are "
            "accepted"
        )


class _Tally:
    """How many fields are left, negative if there are more, and the bytes of whole numbers so far."""

    __slots__ = ("left", "may_exceed", "number_bytes")

    def __init__(self, most: int, *, may_exceed: bool) -> None:
        self.left = most
        self.may_exceed = may_exceed  # otherwise numbers are not counted
        self.number_bytes = 0


def _count(message: bytes, at: int, end: int, within: Parts, tally: _Tally) -> None:
    """Count the fields between two positions."""
    while at < end and tally.left >= 0:
        tally.left -= 1
        tag, at = varint(message, at)
        kind = tag & 7
        if kind == _VARINT:
            _, at = varint(message, at)
        elif kind == _BYTES:
            length, at = varint(message, at)
            inner = within.get(tag >> 3)
            if inner == _TEXT:
                if length > MOST_TEXT_BYTES:
                    raise InvalidInput(
                        f"a name or another text of the message has {length} bytes; at most {MOST_TEXT_BYTES} are "
                        "accepted"
                    )
            elif isinstance(inner, int):
                if tally.may_exceed:
                    tally.number_bytes += inner * _numbers(message, at, min(end, at + length))
            elif inner is not None:
                _count(message, at, min(end, at + length), inner, tally)
            at += length
        elif kind in {_FIXED_32, _FIXED_64}:
            at += 4 if kind == _FIXED_32 else 8
        else:
            raise ValueError(f"field of kind {kind}")


def _numbers(message: bytes, start: int, stop: int) -> int:
    """How many numbers of variable length end between two positions."""
    if start >= stop:
        return 0
    return int(np.count_nonzero(np.frombuffer(message, np.uint8, stop - start, start) < _CONTINUES))


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
