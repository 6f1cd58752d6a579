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
from app.edge.codec.encoded import INLINE_IMAGE_BYTES
from app.edge.codec.json_tensor import OF_NUMBERS
from app.edge.joint.row_replies import Predictions, RowReplies
from app.edge.respond import JSON, Header
from app.errors import InvalidInput
from app.loaded import LoadedModel
from app.types import Array, Tensors

_LARGEST_EXACT = 2**53
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
    nesting; one parse of all bodies together proves that the numbers are numbers.

    Args:
        model: the version.
        before, after: the body around the array, character by character.
        parser: of all forms, whose buffers grow with the largest joint request.
    """

    def __init__(self, model: LoadedModel, before: bytes, after: bytes, parser: simdjson.Parser) -> None:
        super().__init__(model, before, after)
        self._before, self._after = before, after
        self._nesting = nesting_of((1, *self._tensor.shape))
        self._parser = parser

    def row(self, body: bytes) -> bytes | None:
        """The array, with its brackets."""
        if not (body.startswith(self._before) and body.endswith(self._after)):
            return None
        row = body[len(self._before) : len(body) - len(self._after)]
        return row if row.translate(None, OF_NUMBERS) == self._nesting else None

    def stack(self, rows: list[bytes]) -> Tensors:
        """See ``RowForm``."""
        tensor = self._tensor
        try:
            array = self._parser.parse(b"[" + b",".join(rows) + b"]")
            values = _numbers(array, tensor)
        except (ValueError, TypeError, RuntimeError) as error:
            raise InvalidInput(f"JSON Parse error: {error}") from None
        # An array without numbers looks like one with a single number.
        if values.size != len(rows) * tensor.elements:
            raise InvalidInput("an instance has too few numbers")
        return {tensor.name: values.reshape(len(rows), *tensor.shape)}


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
    before, after = body[:start], body[end:]
    if not _BEFORE.fullmatch(before) or not _AFTER.fullmatch(after):
        return None
    return JsonRows(model, before, after, parser)
