"""Open Inference Protocol, REST: bodies of ``infer`` to tensors, and tensors to replies; JSON, binary or both.

Source: Open Inference Protocol, inference REST API; Triton's extensions binary tensor data, classification, schedule
policy and parameters.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

from app.contract.files.json_text import read_json
from app.edge.call import InferenceRequest
from app.edge.codec.datatypes import BF16, BYTES, CONVERTED, array_from_bits, array_from_bytes, split_bytes
from app.edge.codec.encoded import Encoded
from app.edge.codec.json_tensor import Document, JsonReader
from app.edge.codec.json_values import JsonValue, kind_of_value, plain
from app.edge.codec.strings import read_element
from app.edge.respond import Reply
from app.edge.rest import oip_outputs as v2_output
from app.edge.rest.oip_inputs import Declared, bytes_input
from app.edge.rest.oip_outputs import Requested
from app.edge.rest.oip_plan import HOW_TO_INFER, Plan, read_plan
from app.edge.shared_memory.regions import NO_MEMORY, Memory
from app.errors import InvalidInput, quoted
from app.loaded import LoadedModel
from app.types import Array

_NO_DOCUMENT = Document({}, shapes={})
# Number of request heads that a model version caches: clients send the same one with every request.
MEMO_ENTRIES = 256
MEMO_BYTES = 1_024


def parse_infer(
    body: bytes, json_length: int | None, model: LoadedModel, reader: JsonReader, memory: Memory
) -> InferenceRequest[Reply]:
    """Tensors of an ``infer`` body.

    Args:
        body: JSON, or JSON followed by the bytes of tensors, or the bytes of one tensor.
        json_length: Inference-Header-Content-Length: None means that the whole body is JSON, 0 that none of it is.
        model: the model that receives the tensors.
        reader: parses pure JSON.
        memory: shared with the client.

    Raises:
        NotFound, Forbidden: see ``Memory.check``.
        InvalidInput: names the input, the value and the rule it breaks.
    """
    if json_length == 0:
        return _raw(body, model)
    if not body:
        raise InvalidInput(f"body is empty; {HOW_TO_INFER}")
    if json_length is None:
        document = reader.read(body, strict=True)
        plan = read_plan(document, model)
        if any(planned.size for planned in plan.inputs):
            raise InvalidInput(
                "binary tensors follow the JSON; send its length in the header Inference-Header-Content-Length"
            )
        return _request(plan, document, _Tail(b"", model.name), model, memory)
    if not 0 < json_length <= len(body):
        raise InvalidInput(f"inference header size should be in range (0, {len(body)}), got: {json_length}")
    head, tail = body[:json_length], _Tail(memoryview(body)[json_length:], model.name)
    if (known := model.memo.get(head)) is not None:
        return _request(known, _NO_DOCUMENT, tail, model, memory)
    document = Document(_object(head), shapes={})
    plan = read_plan(document, model)
    if plan.reusable and len(head) <= MEMO_BYTES:
        if len(model.memo) >= MEMO_ENTRIES:
            model.memo.clear()
        model.memo[head] = plan
    return _request(plan, document, tail, model, memory)


@dataclass(slots=True)
class _Tail:
    """The bytes after the JSON, consumed from the front."""

    data: bytes | memoryview
    model: str
    start: int = 0

    def take(self, size: int, name: str) -> bytes | memoryview:
        end = self.start + size
        if end > len(self.data):
            raise InvalidInput(
                f"unexpected size for input {quoted(name)}, expecting {end - len(self.data)} additional bytes "
                f"for model {self.model!r}"
            )
        part = self.data[self.start : end]
        self.start = end
        return part

    def check_used_up(self) -> None:
        if self.start != len(self.data):
            raise InvalidInput(
                f"unexpected additional input data for model {self.model!r}: "
                f"{len(self.data) - self.start} bytes beyond the declared tensors"
            )


def _object(head: bytes) -> dict[str, JsonValue]:
    root = read_json(head, strict=True)
    if not isinstance(root, dict):
        raise InvalidInput(f"the JSON document is {kind_of_value(root)}; send an object {{key: value}}")
    return root


def _request(
    plan: Plan, document: Document, tail: _Tail, model: LoadedModel, memory: Memory
) -> InferenceRequest[Reply]:
    """The tensors of a request whose JSON is already parsed."""
    if plan.signature:
        model = model.signatures[plan.signature]
    for one in plan.requested:
        if one.part is not None:
            memory.check(one.part)
    inputs: dict[str, Array | Encoded] = {}
    for declared, size, data, part in plan.inputs:
        if part is not None:
            inputs[declared.name] = _binary(declared, memory.read(part), model)
        elif size is not None:
            inputs[declared.name] = _binary(declared, tail.take(size, declared.name), model)
        else:
            inputs[declared.name] = _json(declared, data, document, plan.other_brackets, model)
    tail.check_used_up()

    def reply(answer: Mapping[str, Array]) -> Reply:
        return v2_output.print_infer(answer, plan.requested, model, plan.request_id, memory)

    return InferenceRequest(inputs, reply, plan.options, model)


def _raw(body: bytes, model: LoadedModel) -> InferenceRequest[Reply]:
    """One instance of the single input, with at most one variable dimension; the answer is binary too.

    A string is the whole body, without its length.
    """
    spec = model.spec.inputs[0]
    if len(model.spec.required) != 1 or spec.shape.count(-1) > 1:
        raise InvalidInput(
            f"a raw binary request needs a model with one input and at most one variable dimension; "
            f"model {model.name!r} has {', '.join(tensor.in_words for tensor in model.spec.inputs)}"
        )
    requested = [Requested(tensor.name, binary=True) for tensor in model.spec.outputs]

    def reply(answer: Mapping[str, Array]) -> Reply:
        return v2_output.print_infer(answer, requested, model, "", NO_MEMORY)

    if spec.is_string:
        if model.spec.body_string is None:
            raise InvalidInput(f"a raw binary request is one string; {spec.in_words} has several in an instance")
        return InferenceRequest({spec.name: spec.string_rows([body])}, reply)
    step_bytes = spec.wire_dtype.itemsize * prod(size for size in spec.shape if size != -1)
    expected = step_bytes if not spec.is_variable else max(len(body) // step_bytes, 1) * step_bytes
    if len(body) != expected:
        raise InvalidInput(
            f"unexpected size for input {spec.name!r}: body of {len(body)} bytes; one instance is "
            f"{spec.instance_in_words}, {step_bytes} bytes{' a step' if spec.is_variable else ''}"
        )
    values = spec.from_bytes(body, (1, *spec.shape) if spec.batched else spec.shape)
    return InferenceRequest({spec.name: values}, reply)


def _binary(declared: Declared, data: bytes | memoryview, model: LoadedModel) -> Array | Encoded:
    if declared.datatype in CONVERTED:
        if declared.datatype == BF16:
            return array_from_bits(data, declared.shape)
        return bytes_input(split_bytes(data, declared.name), declared, model)
    return array_from_bytes(data, declared.datatype, declared.shape)


def _json(
    declared: Declared, data: JsonValue, document: Document, other_brackets: int, model: LoadedModel
) -> Array | Encoded:
    if declared.datatype == BYTES:
        return bytes_input(_elements(plain(data), declared.name), declared, model)
    name = f"'data' of input {quoted(declared.name)}"
    return document.flat_or_nested(data, tuple(declared.shape), name, other_brackets=other_brackets)


def _elements(data: JsonValue, name: str) -> list[bytes | str]:
    """Elements of a BYTES tensor in JSON: strings, or ``{"b64": ...}``, flat or nested."""
    elements: list[JsonValue] = data if isinstance(data, list) else [data]
    while elements and all(isinstance(element, list) for element in elements):
        elements = [inner for element in elements for inner in element]
    return [
        read_element(element, f"'data' of input {quoted(name)}: element {index}")
        for index, element in enumerate(elements)
    ]
