"""Plain requests with one instance each: the bytes of the instance, many instances as one tensor, and the replies.

Clients send the same few forms again and again. What is known of a form before a body arrives is prepared once, and
what is left is done for many requests together: one tensor of all instances, one text of all numbers, cut by row.
"""

import re
from abc import ABC, abstractmethod
from functools import lru_cache
from typing import Any
from weakref import ref

import numpy as np
import simdjson

from app.batching.work import Answer
from app.contract.images.plain_png import PlainPng
from app.contract.tensor_spec import TensorSpec
from app.edge.codec.byte_numbers import ByteNumbers, byte_numbers
from app.edge.codec.encoded import INLINE_IMAGE_BYTES
from app.edge.codec.json_tensor import OF_NUMBERS
from app.edge.joint.row_replies import Predictions, RowReplies
from app.edge.respond import JSON, Header
from app.errors import InvalidInput
from app.loaded import LoadedModel
from app.types import Array, Tensors

_LARGEST_EXACT = 2**53
# From which on ``ByteNumbers``, whose cost hardly depends on the count of a few, are cheaper than simdjson.
_MANY_NUMBERS = 8_192
_BEFORE = re.compile(rb'[ \t\r\n]*\{[ \t\r\n]*"instances"[ \t\r\n]*:[ \t\r\n]*')
_AFTER = re.compile(rb"[ \t\r\n]*\}[ \t\r\n]*")


class RowForm(ABC):
    """One form of requests to one model version.

    Args:
        model: the version, of which the form keeps only a weak reference.
        parts: of every body.
        replies: prints the replies; None: as ``:predict`` does.

    Attributes:
        model: returns the version, or None once it is unloaded.
        key: equal for forms whose requests may be answered together.
        constant_bytes: of all parts.
        headers: of the replies, without those of every reply.
        most_bytes: of all rows that are stacked at once; the last one may exceed it.
    """

    headers: tuple[Header, ...] = (JSON,)
    most_bytes = 262_144

    def __init__(self, model: LoadedModel, *parts: bytes, replies: RowReplies | None = None) -> None:
        self.model = ref(model)
        self._replies = replies or Predictions()
        self.key = (type(self), id(model), *self._replies.key, *parts)
        self.constant_bytes = sum(map(len, parts))
        (self._tensor,) = model.spec.inputs

    @abstractmethod
    def stack(self, rows: list[bytes]) -> Tensors:
        """The instances of several bodies as one tensor, (rows, *shape), not validated.

        Raises:
            InvalidInput: one of them is not an instance; which one is not said.
        """

    def bodies(self, outputs: Answer) -> list[bytes]:
        """The body of the reply to each instance."""
        return self._replies.bodies(outputs)


class BodyForm(RowForm):
    """One form of bodies over HTTP."""

    @abstractmethod
    def row(self, body: bytes) -> bytes | None:
        """The part of a body that holds the instance; None if the body has another form."""


class RawRows(BodyForm):
    """The bytes of one instance as the body of ``:predict`` or ``:classify``."""

    def row(self, body: bytes) -> bytes | None:
        """The whole body."""
        return body if len(body) == self._tensor.instance_bytes else None

    def stack(self, rows: list[bytes]) -> Tensors:
        """See ``RowForm``."""
        return {self._tensor.name: self._tensor.from_bytes(b"".join(rows), (-1, *self._tensor.shape))}


class ImageRows(BodyForm):
    """An image of the input's size as the body of ``:predict`` or ``:classify``: see ``PlainPng``.

    Args:
        model: the version.
        replies: prints the replies.
    """

    def __init__(self, model: LoadedModel, replies: RowReplies) -> None:
        super().__init__(model, replies=replies)
        height, width = self._tensor.shape[:2]
        self._png = PlainPng(height, width, self._tensor.elements // (height * width))

    def row(self, body: bytes) -> bytes | None:
        """The compressed pixels."""
        return self._png.compressed(body) if len(body) <= INLINE_IMAGE_BYTES else None

    def stack(self, rows: list[bytes]) -> Tensors:
        """See ``RowForm``."""
        return {self._tensor.name: self._tensor.from_bytes(self._png.pixels(rows), (-1, *self._tensor.shape))}


class JsonRows(BodyForm):
    """``:predict`` with ``{"instances": [...]}`` of one instance as its body.

    What is left of a body without the characters of numbers is the same for all instances of a shape, so it proves the
    nesting; one parse of all bodies together proves that the numbers are numbers. Many bytes as numbers are cheaper to
    read as ``ByteNumbers``.

    Args:
        model: the version.
        body: one with an instance.
        start, end: of the array in it; what is around it is the same in all bodies, character by character.
        parser: of all forms, whose buffers grow with the largest joint request.
        shape: of the array; None: an array of one instance.
    """

    def __init__(
        self,
        model: LoadedModel,
        body: bytes,
        start: int,
        end: int,
        parser: simdjson.Parser,
        *,
        shape: tuple[int, ...] | None = None,
    ) -> None:
        self._before, self._after = body[:start], body[end:]
        super().__init__(model, self._before, self._after)
        self._nesting = nesting_of(shape or (1, *self._tensor.shape))
        self._bytes = self._byte_numbers(body[start:end])
        self.key = (*self.key, shape, self._bytes)
        self._parser = parser

    def row(self, body: bytes) -> bytes | None:
        """The array, with its brackets. Its nesting may be another one if all are read as ``ByteNumbers``."""
        if not (body.startswith(self._before) and body.endswith(self._after)):
            return None
        row = body[len(self._before) : len(body) - len(self._after)]
        is_one = self._is_nested(row) if self._bytes is None else self._bytes.may_read(row)
        return row if is_one else None

    def stack(self, rows: list[bytes]) -> Tensors:
        """See ``RowForm``."""
        tensor = self._tensor
        try:
            if self._bytes is not None:
                if len(rows) * tensor.elements >= _MANY_NUMBERS:
                    return {tensor.name: self._bytes.read(rows).reshape(len(rows), *tensor.shape)}
                if not all(map(self._is_nested, rows)):
                    raise InvalidInput("an instance has another nesting")
            array = self._parser.parse(b"[" + b",".join(rows) + b"]")
            values = _numbers(array, tensor)
        except (ValueError, TypeError, RuntimeError) as error:
            raise InvalidInput(f"JSON Parse error: {error}") from None
        # An array without numbers looks like one with a single number.
        if values.size != len(rows) * tensor.elements:
            raise InvalidInput("an instance has too few numbers")
        return {tensor.name: values.reshape(len(rows), *tensor.shape)}

    def _byte_numbers(self, row: bytes) -> ByteNumbers | None:
        """Reads rows like this one; None if they may have anything but bytes, or this one is no instance."""
        if self._tensor.numpy_dtype != np.uint8 or not self._is_nested(row):
            return None
        found = byte_numbers(row)
        return found if found is not None and found.count == self._tensor.elements else None

    def _is_nested(self, row: bytes) -> bool:
        return row.translate(None, OF_NUMBERS) == self._nesting


@lru_cache(maxsize=64)
def nesting_of(shape: tuple[int, ...]) -> bytes:
    """A nested array of that shape without its numbers: ``[[,],[,]]`` for (2, 2). Longer than prod(shape)."""
    *outer, numbers = shape
    nesting = b"[" + b"," * (numbers - 1) + b"]"
    for size in reversed(outer):
        nesting = b"[" + b",".join([nesting] * size) + b"]"
    return nesting


def _numbers(array: Any, tensor: TensorSpec) -> Array:
    """All numbers: whole ones as int64, which is cheaper to check, or else as float64."""
    try:
        return np.frombuffer(array.as_buffer(of_type="i"), dtype=np.int64)
    except (TypeError, ValueError):
        if tensor.numpy_dtype.itemsize == 8 and tensor.numpy_dtype.kind in "iu":
            raise
        values = np.frombuffer(array.as_buffer(of_type="d"), dtype=np.float64)
        if max(values.max(), -values.min()) > _LARGEST_EXACT:
            raise  # large whole numbers of the other requests would be rounded twice
        return values


def json_form(model: LoadedModel, body: bytes, parser: simdjson.Parser) -> JsonRows | None:
    """The form of a ``:predict`` body that is JSON; None if it is not of this form."""
    start, end = body.find(b"["), body.rfind(b"]") + 1
    if not _BEFORE.fullmatch(body, 0, start) or not _AFTER.fullmatch(body, end):
        return None
    return JsonRows(model, body, start, end, parser)
