"""Plain requests with one instance each: the bytes of the instance, many instances as one tensor, and the replies.

Clients send the same few forms again and again. What is known of a form before a body arrives is prepared once, and
what is left is done for many requests together: one tensor of all instances, one text of all numbers, cut by row.
"""

import re
from abc import ABC, abstractmethod
from typing import Any
from weakref import ref

import numpy as np
import orjson
import simdjson

from app.batching.work import DEFAULT_OPTIONS, Answer
from app.contract.tensor_spec import TensorSpec
from app.edge.codec.datatypes import BF16, BYTES, array_from_bits, array_from_bytes
from app.edge.codec.json_dump import NUMBERS_AT_ONCE
from app.edge.codec.json_tensor import OF_NUMBERS
from app.edge.codec.media import costs_less_than_a_thread, kind_of
from app.edge.respond import JSON, Header
from app.edge.rest.oip_outputs import Printed, print_infer, printed_outputs
from app.edge.rest.oip_plan import Plan
from app.edge.rest.request import HttpRequest
from app.edge.rest.tfs import print_predict
from app.edge.shared_memory.regions import NO_MEMORY
from app.errors import InvalidInput
from app.loaded import LoadedModel
from app.types import Array, Tensors

LARGEST_ANSWER_BYTES = 131_072
"""Most bytes of the outputs of a whole batch, which are printed at once."""
UNCOMPRESSED_BYTES = 128
"""Most bytes of an answer that is never long enough to be compressed: as JSON they are at most six times as many."""
_LARGEST_EXACT = 2**53
_BEFORE = re.compile(rb'\s*\{\s*"instances"\s*:\s*')
_AFTER = re.compile(rb"\s*\}\s*")


class RowForm(ABC):
    """One form of requests to one model version.

    Args:
        model: the version, of which the form keeps only a weak reference.
        parts: of every body.

    Attributes:
        model: returns the version, or None once it is unloaded.
        key: equal for forms whose requests may be answered together.
        headers: of the replies, without those of every reply.
    """

    headers: tuple[Header, ...] = (JSON,)

    def __init__(self, model: LoadedModel, *parts: bytes) -> None:
        self.model = ref(model)
        self.key = (type(self), id(model), *parts)
        (self._tensor,) = model.spec.inputs

    @abstractmethod
    def row(self, body: bytes) -> bytes | None:
        """The part of a body that holds the instance; None if the body has another form."""

    @abstractmethod
    def stack(self, rows: list[bytes]) -> Tensors:
        """The instances of several bodies as one tensor, (rows, *shape), not validated.

        Raises:
            InvalidInput: one of them is not an instance; which one is not said.
        """

    def bodies(self, outputs: Answer) -> list[bytes]:
        """The body of the reply to each instance."""
        if len(outputs) == 1:
            ((_, values),) = outputs.items()
            if (rows := _rows_as_json(values)) is not None:
                return [b'{"predictions":[' + row + b"]}" for row in rows]
        count = len(next(iter(outputs.values())))
        return [
            print_predict({name: values[i : i + 1] for name, values in outputs.items()}, "row") for i in range(count)
        ]


class RawRows(RowForm):
    """``:predict`` with the bytes of one instance as its body."""

    def row(self, body: bytes) -> bytes | None:
        """The whole body."""
        return body if len(body) == self._tensor.instance_bytes else None

    def stack(self, rows: list[bytes]) -> Tensors:
        """See ``RowForm``."""
        return {self._tensor.name: self._tensor.from_bytes(b"".join(rows), (-1, *self._tensor.shape))}


class JsonRows(RowForm):
    """``:predict`` with ``{"instances": [...]}`` of one instance as its body.

    What is left of a body without the characters of numbers is the same for all instances of a shape, so it proves the
    nesting; one parse of all bodies together proves that the numbers are numbers.

    Args:
        model: the version.
        before, after: the body around the array, character by character.
    """

    def __init__(self, model: LoadedModel, before: bytes, after: bytes) -> None:
        super().__init__(model, before, after)
        self._before, self._after = before, after
        self._nesting = nesting_of((1, *self._tensor.shape))
        self._parser = simdjson.Parser()

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


class BinaryRows(RowForm):
    """``infer`` with one tensor of one instance after its JSON, and all outputs as bytes after the JSON of the reply.

    Args:
        model: the version.
        head: the JSON.
        plan: what it says.
    """

    def __init__(self, model: LoadedModel, head: bytes, plan: Plan) -> None:
        super().__init__(model, head)
        self._head, self._plan = head, plan
        self._length = len(head) + (plan.inputs[0].size or 0)
        self._reply: bytes | None = None

    def row(self, body: bytes) -> bytes | None:
        """The bytes after the JSON."""
        return body[len(self._head) :] if len(body) == self._length and body.startswith(self._head) else None

    def stack(self, rows: list[bytes]) -> Tensors:
        """See ``RowForm``."""
        declared = self._plan.inputs[0].declared
        shape = [len(rows), *declared.shape[1:]]
        data = b"".join(rows)
        if declared.datatype == BF16:
            return {declared.name: array_from_bits(data, shape)}
        return {declared.name: array_from_bytes(data, declared.datatype, shape)}

    def bodies(self, outputs: Answer) -> list[bytes]:
        """See ``RowForm``."""
        model = self.model()
        assert model is not None
        if self._reply is None:
            first = {name: values[:1] for name, values in outputs.items()}
            reply = print_infer(first, self._plan.requested, model, "", NO_MEMORY)
            self.headers = reply.headers
            length = int(dict(reply.headers)[b"inference-header-content-length"])
            self._reply = reply.body[:length]
        tails = [_cut(printed) for _, printed in printed_outputs(outputs, self._plan.requested, model)]
        if len(tails) == 1:
            return [self._reply + tail for tail in tails[0]]
        return [b"".join((self._reply, *row)) for row in zip(*tails, strict=True)]


def form_of(request: HttpRequest, body: bytes, model: LoadedModel) -> RowForm | None:
    """The form of a request whose headers are parsed; None if it is not plain.

    Args:
        request: its path and headers.
        body: of it.
        model: the version that answers.
    """
    route, spec = request.route, model.spec
    if (
        request.content_encoding
        or len(spec.inputs) > 1
        or not (spec.batched and model.answer_is_bounded)
        or spec.whole
        or (only := spec.inputs[0]).is_string
        or only.is_variable
        or model.answer_bytes * model.batcher.rules.max_batch_size > LARGEST_ANSWER_BYTES
        or (request.accept_encoding and model.answer_bytes > UNCOMPRESSED_BYTES)
    ):
        return None
    if route.verb == "infer":
        form = _binary_form(model, body, request.json_length)
    elif route.verb == "predict" and (kind := kind_of(request.content_type, body, model)) in {"tensor", "json"}:
        form = RawRows(model) if kind == "tensor" else _json_form(model, body)
    else:
        return None
    if form is None or form.row(body) is None:
        return None
    return form if costs_less_than_a_thread("json" if isinstance(form, JsonRows) else "tensor", body) else None


def _json_form(model: LoadedModel, body: bytes) -> RowForm | None:
    start, end = body.find(b"["), body.rfind(b"]") + 1
    before, after = body[:start], body[end:]
    return JsonRows(model, before, after) if _BEFORE.fullmatch(before) and _AFTER.fullmatch(after) else None


def _binary_form(model: LoadedModel, body: bytes, json_length: int | None) -> RowForm | None:
    if not json_length or (plan := model.memo.get(body[:json_length])) is None:
        return None
    if plan.signature or plan.options != DEFAULT_OPTIONS or len(plan.inputs) != 1:
        return None
    [(declared, size, _, part)] = plan.inputs
    if part is not None or size is None or declared.datatype == BYTES or declared.shape[0] != 1:
        return None
    if any(not one.binary or one.class_count or one.part is not None for one in plan.requested):
        return None
    return BinaryRows(model, body[:json_length], plan)


def nesting_of(shape: tuple[int, ...]) -> bytes:
    """A nested array of that shape without its numbers: ``[[,],[,]]`` for (2, 2)."""
    nesting = b""
    for size in reversed(shape):
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


def _rows_as_json(values: Array) -> list[bytes] | None:
    """The text of each row; None if it cannot be cut out of the text of all."""
    if values.ndim not in {1, 2} or values.dtype.kind not in "fiu" or not 0 < values.size <= NUMBERS_AT_ONCE:
        return None
    text = orjson.dumps(values, option=orjson.OPT_SERIALIZE_NUMPY)
    if b"n" in text:  # NaN and infinity, which orjson writes as null
        return None
    if values.ndim == 1:
        return text[1:-1].split(b",")
    return [b"[" + row + b"]" for row in text[2:-2].split(b"],[")]


def _cut(printed: Printed) -> list[bytes]:
    """The bytes of each row of an output."""
    raw, count = printed.raw(), printed.shape[0]
    size = len(raw) // count
    return [raw[start : start + size] for start in range(0, len(raw), size)]
