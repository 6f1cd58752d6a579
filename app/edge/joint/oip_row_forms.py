"""Plain requests of the Open Inference Protocol: ``infer`` with one tensor, as JSON or binary."""

import re
from math import prod

import simdjson

from app.batching.work import DEFAULT_OPTIONS, Answer, RequestOptions
from app.edge.codec.datatypes import BF16, BYTES, array_from_bits, array_from_bytes
from app.edge.codec.json_tensor import JsonReader
from app.edge.joint.row_forms import BodyForm, JsonRows, Rows, nesting_of
from app.edge.joint.row_replies import parts_of, rows_as_json
from app.edge.rest.oip_inputs import Declared
from app.edge.rest.oip_outputs import Printed, Requested, print_infer, printed_outputs
from app.edge.rest.oip_plan import Plan, read_plan
from app.edge.shared_memory.regions import NO_MEMORY
from app.errors import ServingError
from app.loaded import LoadedModel
from app.runtime.backend import take_rows
from app.types import Tensors

_DATA = re.compile(rb'"data"[ \t\r\n]*:[ \t\r\n]*(?=\[)')


class TensorJsonRows(JsonRows):
    """``infer`` with one tensor in its JSON, and all outputs in the JSON of the reply.

    Args:
        model: the version.
        before, after, parser: see ``JsonRows``.
        shape: of the array: that of the tensor, or flat.
        plan: what the body says, such as the number of instances.
    """

    def __init__(
        self,
        model: LoadedModel,
        before: bytes,
        after: bytes,
        parser: simdjson.Parser,
        *,
        shape: tuple[int, ...],
        plan: Plan,
    ) -> None:
        super().__init__(model, before, after, parser, most=plan.inputs[0].declared.shape[0])
        self.key = (*self.key, shape)
        self._nesting = nesting_of(shape)
        self._requested = plan.requested  # not the plan: it references the document, and that the parser's buffers
        self._around: list[bytes] | None = None  # the text of a reply around its arrays

    def _print(self, outputs: Answer) -> bytes:
        model = self.model()
        assert model is not None
        return print_infer(outputs, self._requested, model, "", NO_MEMORY).body

    def _count(self, nesting: bytes) -> int:
        return self._most if nesting == self._nesting else 0

    def bodies(self, outputs: Answer, counts: list[int]) -> list[bytes]:
        """See ``RowForm``."""
        count = len(counts)
        columns = [
            rows for one in self._requested if (rows := rows_as_json(outputs[one.name].reshape(count, -1))) is not None
        ]
        if len(columns) < len(self._requested):
            return [self._print(part) for part in parts_of(outputs, counts)]
        if self._around is None:
            rest = self._print(take_rows(outputs, 0, counts[0]))
            self._around = []
            for rows in columns:
                piece, _, rest = rest.partition(b'"data":' + rows[0])
                self._around.append(piece + b'"data":')
            self._around.append(rest)
        *before, last = self._around
        if len(columns) == 1:
            return [before[0] + row + last for row in columns[0]]
        return [
            b"".join(text for pair in zip(before, row, strict=True) for text in pair) + last
            for row in zip(*columns, strict=True)
        ]


class BinaryRows(BodyForm):
    """``infer`` with one tensor after its JSON, and all outputs as bytes after the JSON of the reply.

    Args:
        model: the version.
        head: the JSON.
        plan: what it says.
    """

    def __init__(self, model: LoadedModel, head: bytes, plan: Plan) -> None:
        super().__init__(model, head, most=plan.inputs[0].declared.shape[0])
        self._head, self._declared, self._requested = head, plan.inputs[0].declared, plan.requested
        self._length = len(head) + (plan.inputs[0].size or 0)
        self._reply: bytes | None = None

    def rows(self, body: bytes) -> Rows | None:
        """The bytes after the JSON."""
        if len(body) != self._length or not body.startswith(self._head):
            return None
        return body[len(self._head) :], self._most

    def stack(self, parts: list[bytes], count: int) -> Tensors:
        """See ``RowForm``."""
        return stack_raw(parts, count, self._declared)

    def bodies(self, outputs: Answer, counts: list[int]) -> list[bytes]:
        """See ``RowForm``."""
        model = self.model()
        assert model is not None
        if self._reply is None:
            reply = print_infer(take_rows(outputs, 0, counts[0]), self._requested, model, "", NO_MEMORY)
            self.headers = reply.headers
            length = int(dict(reply.headers)[b"inference-header-content-length"])
            self._reply = reply.body[:length]
        tails = [cut(printed, len(counts)) for _, printed in printed_outputs(outputs, self._requested, model)]
        if len(tails) == 1:
            return [self._reply + tail for tail in tails[0]]
        return [b"".join((self._reply, *row)) for row in zip(*tails, strict=True)]


def infer_json_form(model: LoadedModel, body: bytes, parser: simdjson.Parser, *, most: int) -> JsonRows | None:
    """The form of a body that is JSON with at most so many instances; None if it is none of these forms."""
    # Without an escape there is no other way to write the key of the data.
    if b"\\" in body or len(_DATA.findall(body)) != 1 or (found := _DATA.search(body)) is None:
        return None
    try:
        plan = read_plan(JsonReader(fallback_limit_bytes=0).read(body, strict=True), model)
    except ServingError:
        return None
    if not _is_plain(plan, binary=False, most=most):
        return None
    declared, start = plan.inputs[0].declared, found.end()
    for shape in ((prod(declared.shape),), tuple(declared.shape)):
        end = _end_of_array(body, start, nesting_of(shape).count(b"]"))
        form = TensorJsonRows(model, body[:start], body[end:], parser, shape=shape, plan=plan)
        if form.rows(body) is not None:
            return form
    return None


def infer_binary_form(model: LoadedModel, body: bytes, json_length: int, *, most: int) -> BodyForm | None:
    """The form of a body with so many bytes of JSON before its tensor of at most so many instances; None if none."""
    if json_length <= 0 or (plan := model.memo.get(body[:json_length])) is None:
        return None
    return BinaryRows(model, body[:json_length], plan) if _is_plain(plan, binary=True, most=most) else None


def _is_plain(plan: Plan, *, binary: bool, most: int) -> bool:
    """Whether a request has one tensor of so many instances and nothing else, and input and outputs have that form."""
    if plan.request_id or plan.signature or len(plan.inputs) != 1:
        return False
    [(declared, size, _, part)] = plan.inputs
    if part is not None or (size is not None) != binary or any(one.binary != binary for one in plan.requested):
        return False
    return is_plain_tensor(declared, plan.requested, plan.options, most=most)


def is_plain_tensor(declared: Declared, requested: list[Requested], options: RequestOptions, *, most: int) -> bool:
    """Whether a request of one tensor, over HTTP or gRPC, has at most so many instances and states nothing rare."""
    if options != DEFAULT_OPTIONS or declared.datatype == BYTES or not 0 < declared.shape[0] <= most:
        return False
    return all(not one.class_count and one.part is None for one in requested)


def _end_of_array(body: bytes, start: int, brackets: int) -> int:
    """The place after so many closing brackets."""
    for _ in range(brackets):
        start = body.find(b"]", start) + 1
    return start


def stack_raw(parts: list[bytes], count: int, declared: Declared) -> Tensors:
    """The tensor of so many instances from the bytes of several requests, of which each declares ``declared``."""
    shape = [count, *declared.shape[1:]]
    data = b"".join(parts)
    if declared.datatype == BF16:
        return {declared.name: array_from_bits(data, shape)}
    return {declared.name: array_from_bytes(data, declared.datatype, shape)}


def cut(printed: Printed, count: int) -> list[bytes]:
    """The bytes of an output for each of so many requests, which have equally many rows of it."""
    raw = printed.raw()
    size = len(raw) // count
    return [raw[start : start + size] for start in range(0, len(raw), size)]
