"""Plain requests: the bytes of their instances, those of many requests as one tensor, and the replies.

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
Rows = tuple[bytes, int]
"""The part of a body that holds instances, and how many."""
_BEFORE = re.compile(rb'[ \t\r\n]*\{[ \t\r\n]*"instances"[ \t\r\n]*:[ \t\r\n]*')
_AFTER = re.compile(rb"[ \t\r\n]*\}[ \t\r\n]*")


class RowForm(ABC):
    """One form of requests to one model version.

    Args:
        model: the version, of which the form keeps only a weak reference.
        parts: of every body.
        most: instances of one request; a batch has at least as many.
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

    def __init__(self, model: LoadedModel, *parts: bytes, most: int = 1, replies: RowReplies | None = None) -> None:
        self.model = ref(model)
        self._most = most
        self._replies = replies or Predictions()
        self.key = (type(self), id(model), most, *self._replies.key, *parts)
        self.constant_bytes = sum(map(len, parts))
        (self._tensor,) = model.spec.inputs

    @abstractmethod
    def stack(self, parts: list[bytes], count: int) -> Tensors:
        """The instances of several bodies, so many in all, as one tensor, (count, *shape), not validated.

        Raises:
            InvalidInput: one of them is not what it seemed; which one is not said.
        """

    def bodies(self, outputs: Answer, counts: list[int]) -> list[bytes]:
        """The body of the reply to each request, of which the instances are so many."""
        return self._replies.bodies(outputs, counts)


class BodyForm(RowForm):
    """One form of bodies over HTTP."""

    @abstractmethod
    def rows(self, body: bytes) -> Rows | None:
        """The instances of a body; None if it has another form."""


class RawRows(BodyForm):
    """The bytes of instances as the body of ``:predict`` or ``:classify``."""

    def rows(self, body: bytes) -> Rows | None:
        """The whole body."""
        count, rest = divmod(len(body), self._tensor.instance_bytes)
        return (body, count) if not rest and 0 < count <= self._most else None

    def stack(self, parts: list[bytes], count: int) -> Tensors:
        """See ``RowForm``."""
        return {self._tensor.name: self._tensor.from_bytes(b"".join(parts), (count, *self._tensor.shape))}


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

    def rows(self, body: bytes) -> Rows | None:
        """The compressed pixels."""
        stream = self._png.compressed(body) if len(body) <= INLINE_IMAGE_BYTES else None
        return None if stream is None else (stream, 1)

    def stack(self, parts: list[bytes], count: int) -> Tensors:
        """See ``RowForm``."""
        return {self._tensor.name: self._tensor.from_bytes(self._png.pixels(parts), (count, *self._tensor.shape))}


class JsonRows(BodyForm):
    """``:predict`` with ``{"instances": [...]}`` as its body.

    What is left of a body without the characters of numbers is the same for all instances of a shape, so it proves the
    nesting; one parse of all bodies together proves that the numbers are numbers.

    Args:
        model: the version.
        before, after: the body around the array, character by character.
        parser: of all forms, whose buffers grow with the largest joint request.
        most: instances of one request.
    """

    def __init__(self, model: LoadedModel, before: bytes, after: bytes, parser: simdjson.Parser, *, most: int) -> None:
        super().__init__(model, before, after, most=most)
        self._before, self._after = before, after
        self._parser = parser
        self._of_one, of_two = (nesting_of((count, *self._tensor.shape)) for count in (1, 2))
        self._of_another = len(of_two) - len(self._of_one)  # characters

    def rows(self, body: bytes) -> Rows | None:
        """The array, with its brackets."""
        if not (body.startswith(self._before) and body.endswith(self._after)):
            return None
        array = body[len(self._before) : len(body) - len(self._after)]
        count = self._count(array.translate(None, OF_NUMBERS))
        return (array, count) if count else None

    def _count(self, nesting: bytes) -> int:
        """How many instances have that nesting; 0 if none have."""
        if nesting == self._of_one:
            return 1
        others, rest = divmod(len(nesting) - len(self._of_one), self._of_another)
        if rest or not 0 < others < self._most or nesting != nesting_of((1 + others, *self._tensor.shape)):
            return 0
        return 1 + others

    def stack(self, parts: list[bytes], count: int) -> Tensors:
        """See ``RowForm``."""
        tensor = self._tensor
        try:
            array = self._parser.parse(b"[" + b",".join(parts) + b"]")
            values = _numbers(array, tensor)
        except (ValueError, TypeError, RuntimeError) as error:
            raise InvalidInput(f"JSON Parse error: {error}") from None
        # An array without numbers looks like one with a single number.
        if values.size != count * tensor.elements:
            raise InvalidInput("an instance has too few numbers")
        return {tensor.name: values.reshape(count, *tensor.shape)}


@lru_cache(maxsize=128)
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


def json_form(model: LoadedModel, body: bytes, parser: simdjson.Parser, *, most: int) -> JsonRows | None:
    """The form of a ``:predict`` body that is JSON; None if it is not of this form."""
    start, end = body.find(b"["), body.rfind(b"]") + 1
    before, after = body[:start], body[end:]
    if not _BEFORE.fullmatch(before) or not _AFTER.fullmatch(after):
        return None
    return JsonRows(model, before, after, parser, most=most)
