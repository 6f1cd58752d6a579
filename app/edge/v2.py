"""Open Inference Protocol, REST: bodies of ``infer`` to tensors, and tensors to replies; JSON, binary or both.

Source: Open Inference Protocol, inference REST API; Triton's extensions binary tensor data, classification, schedule
policy and parameters.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import orjson

from app.edge import v2_output
from app.edge.datatypes import BINARY_ONLY, BYTES, NUMPY, array_from_bytes, split_bytes
from app.edge.exchange import Exchange
from app.edge.json_tensor import Document, JsonReader, JsonValue, is_array, kind_of_value, plain
from app.edge.respond import Reply
from app.edge.v2_input import Declared, media_rows, read_options, refuse_count, wanted_input
from app.edge.v2_output import Requested
from app.errors import InvalidInput
from app.runtime.backend import Array
from app.serving.model import LoadedModel

_NO_PARAMETERS: dict[str, JsonValue] = {}


def parse_infer(body: bytes, json_length: int | None, model: LoadedModel, reader: JsonReader) -> Exchange:
    """Tensors of an ``infer`` body.

    Args:
        body: JSON, or JSON and the bytes of tensors after it, or the bytes of one tensor.
        json_length: Inference-Header-Content-Length: None says that all is JSON, 0 that nothing is.
        model: what the tensors are for.
        reader: parses pure JSON.

    Raises:
        InvalidInput: names the input, the value and the rule it breaks.
    """
    if json_length == 0:
        return _raw(body, model)
    if json_length is None:
        return _parse(reader.read(body), _Tail(b"", model.name), model)
    if not 0 < json_length <= len(body):
        raise InvalidInput(f"inference header size should be in range (0, {len(body)}), got: {json_length}")
    try:
        root = orjson.loads(memoryview(body)[:json_length])
    except orjson.JSONDecodeError as error:
        raise InvalidInput(f"JSON Parse error: {error.msg} at offset: {error.pos}") from error
    if not isinstance(root, dict):
        raise InvalidInput(f"the JSON document is {kind_of_value(root)}; send an object {{key: value}}")
    return _parse(Document(root, brackets=0), _Tail(memoryview(body)[json_length:], model.name), model)


@dataclass(slots=True)
class _Tail:
    """The bytes after the JSON, taken from the front."""

    data: bytes | memoryview
    model: str
    start: int = 0

    def take(self, size: int, name: str) -> bytes | memoryview:
        end = self.start + size
        if end > len(self.data):
            raise InvalidInput(
                f"unexpected size for input {name!r}, expecting {end - len(self.data)} additional bytes "
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


def _parse(document: Document, tail: _Tail, model: LoadedModel) -> Exchange:
    entries = document.get("inputs")
    if not is_array(entries):
        raise InvalidInput(f"Unable to parse 'inputs': it is {kind_of_value(entries)}; send a list of tensors")
    if len(entries) != len(model.spec.inputs):
        refuse_count(len(entries), model)
    outputs = document.get("outputs")
    # Of one input everything outside its data is known: the lists of inputs and outputs, and its shape.
    other_brackets = 2 + (outputs is not None) if len(entries) == 1 else -1
    inputs: dict[str, Array] = {}
    for index in range(len(entries)):
        fields = _fields(entries[index], f"inputs[{index}]")
        declared = _declared(fields, f"inputs[{index}]")
        if declared.name in inputs:
            raise InvalidInput(f"input {declared.name!r} is given twice")
        inputs[declared.name] = _tensor(declared, fields, document, tail, model, other_brackets)
    tail.check_used_up()
    parameters = _parameters(document.get("parameters"), "'parameters'")
    requested = _requested(plain(outputs), parameters, model)
    request_id = document.get("id")
    if request_id is not None and not isinstance(request_id, str):
        raise InvalidInput(f"'id' is {kind_of_value(request_id)}; send a string")

    def reply(answer: Mapping[str, Array]) -> Reply:
        return v2_output.print_infer(answer, requested, model, request_id or "")

    return Exchange(inputs, reply, read_options(parameters))


def _raw(body: bytes, model: LoadedModel) -> Exchange:
    """One instance of the single input, which has at most one length that varies; the answer is binary too."""
    spec = model.spec.inputs[0]
    if len(model.spec.inputs) != 1 or spec.shape.count(-1) > 1:
        raise InvalidInput(
            f"a raw binary request needs a model with one input and at most one variable dimension; "
            f"model {model.name!r} has {', '.join(tensor.in_words for tensor in model.spec.inputs)}"
        )
    dtype = spec.numpy_dtype.newbyteorder("<")
    step_bytes = dtype.itemsize * prod(size for size in spec.shape if size != -1)
    wanted = step_bytes if not spec.is_variable else max(len(body) // step_bytes, 1) * step_bytes
    if len(body) != wanted:
        raise InvalidInput(
            f"unexpected size for input {spec.name!r}: body of {len(body)} bytes; one instance is "
            f"{spec.instance_in_words}, {step_bytes} bytes{' a step' if spec.is_variable else ''}"
        )
    values = np.frombuffer(body, dtype=dtype).reshape(1, *spec.shape)
    requested = [Requested(tensor.name, binary=True) for tensor in model.spec.outputs]
    return Exchange({spec.name: values}, lambda answer: v2_output.print_infer(answer, requested, model, ""))


def _tensor(
    declared: Declared,
    fields: Mapping[str, JsonValue],
    document: Document,
    tail: _Tail,
    model: LoadedModel,
    other_brackets: int,
) -> Array:
    """One input's tensor, from the bytes after the JSON or from ``data``."""
    name, datatype, shape = declared.name, declared.datatype, declared.shape
    spec = wanted_input(declared, model)
    size = _parameters(fields.get("parameters"), f"'parameters' of input {name!r}").get("binary_data_size")
    if size is None:
        if "data" not in fields:
            raise InvalidInput(f"input {name!r} has neither 'data' nor the parameter 'binary_data_size'")
        if datatype == BYTES:
            return media_rows(_texts(plain(fields["data"]), name), declared, model)
        if datatype in BINARY_ONLY:
            raise InvalidInput(
                f"input {name!r} has datatype {datatype}, which JSON cannot hold; send it as binary data"
            )
        return document.flat_or_nested(
            fields["data"], tuple(shape), f"'data' of input {name!r}", other_brackets=other_brackets
        )
    if "data" in fields:
        raise InvalidInput(f"input {name!r} has both 'data' and the parameter 'binary_data_size'; send one of them")
    if isinstance(size, bool) or not isinstance(size, int) or size < 0:
        raise InvalidInput(f"'binary_data_size' of input {name!r} is {size!r}; send a whole number of bytes")
    if datatype == BYTES:
        return media_rows(split_bytes(tail.take(size, name), name), declared, model)
    wanted = NUMPY[datatype].itemsize * prod(shape)
    if size != wanted:
        raise InvalidInput(
            f"'binary_data_size' of input {name!r} is {size}; {datatype} of shape {shape} has {wanted} bytes"
        )
    assert spec is not None
    return array_from_bytes(tail.take(size, name), datatype, shape)


def _texts(data: JsonValue, name: str) -> list[bytes]:
    """Elements of a BYTES tensor in JSON: strings, flat or nested."""
    elements: list[JsonValue] = data if isinstance(data, list) else [data]
    while elements and all(isinstance(element, list) for element in elements):
        elements = [inner for element in elements for inner in element]
    for index, element in enumerate(elements):
        if not isinstance(element, str):
            raise InvalidInput(f"'data' of input {name!r}: element {index} is {kind_of_value(element)}; send strings")
    return [element.encode() for element in elements]


def _fields(entry: JsonValue, place: str) -> dict[str, JsonValue]:
    """The members of an input, its data still unread."""
    if not hasattr(entry, "keys"):
        raise InvalidInput(f"{place} is {kind_of_value(entry)}; send an object with name, shape, datatype and data")
    return {key: entry[key] for key in entry.keys()}  # noqa: SIM118 - the proxy has no `in`


def _declared(fields: Mapping[str, JsonValue], place: str) -> Declared:
    name, datatype, shape = fields.get("name"), fields.get("datatype"), plain(fields.get("shape"))
    if not isinstance(name, str):
        raise InvalidInput(f"{place} has no 'name'; send a string")
    if not isinstance(datatype, str):
        raise InvalidInput(f"input {name!r} has no 'datatype'; send one of {', '.join([*NUMPY, BYTES])}")
    if datatype != BYTES and datatype not in NUMPY:
        raise InvalidInput(f"input {name!r} has the unknown datatype {datatype!r}; use {', '.join([*NUMPY, BYTES])}")
    if not isinstance(shape, list) or not all(
        isinstance(size, int) and not isinstance(size, bool) and size >= 0 for size in shape
    ):
        raise InvalidInput(f"input {name!r} has shape {shape!r}; send a list of whole numbers from 0")
    return Declared(name, datatype, shape)


def _parameters(value: JsonValue, place: str) -> dict[str, Any]:
    parameters = plain(value)
    if parameters is None:
        return _NO_PARAMETERS
    if not isinstance(parameters, dict):
        raise InvalidInput(f"{place} is {kind_of_value(parameters)}; send an object {{key: value}}")
    return parameters


def _requested(outputs: JsonValue, parameters: Mapping[str, Any], model: LoadedModel) -> list[Requested]:
    """Which outputs the reply holds, in which order and form."""
    everywhere = _flag(parameters, "binary_data_output", default=False)
    if outputs is None or outputs == []:
        return [Requested(tensor.name, binary=everywhere) for tensor in model.spec.outputs]
    if not isinstance(outputs, list):
        raise InvalidInput(f"Unable to parse 'outputs': it is {kind_of_value(outputs)}; send a list of objects")
    requested: list[Requested] = []
    for index, entry in enumerate(outputs):
        if not isinstance(entry, dict) or not isinstance(entry.get("name"), str):
            raise InvalidInput(f"outputs[{index}] has no 'name'; send an object {{\"name\": string}}")
        own = _parameters(entry.get("parameters"), f"'parameters' of output {entry['name']!r}")
        binary = _flag(own, "binary_data", default=everywhere)
        requested.append(Requested(entry["name"], binary=binary, class_count=own.get("classification", 0)))
    v2_output.check_requested(requested, model)
    return requested


def _flag(parameters: Mapping[str, Any], name: str, *, default: bool) -> bool:
    value = parameters.get(name, default)
    if not isinstance(value, bool):
        raise InvalidInput(f"parameter {name!r} is {value!r}; send true or false")
    return value
