"""Triton's generate extension for models that do not generate text: one instance as JSON in, its outputs as JSON out.

Source: Triton, generate extension: keys of the document are names of inputs, ``parameters`` and ``id``; an output of
one element is written as that element, any other as a flat list.
"""

from typing import Any

from app.batching.work import Answer
from app.edge.call import InferenceRequest
from app.edge.codec.encoded import Encoded
from app.edge.codec.json_dump import dump
from app.edge.codec.json_tensor import JsonReader
from app.edge.codec.json_values import JsonValue, kind_of_value, plain
from app.edge.codec.strings import print_strings
from app.edge.respond import Reply
from app.edge.rest.generate import EVENT_STREAM, event, read_id
from app.edge.rest.named_rows import named_rows
from app.edge.rest.oip_inputs import read_options
from app.edge.rest.signature_name import SIGNATURE_NAME, of_signature
from app.errors import InvalidInput
from app.loaded import LoadedModel
from app.types import Array

# Next to the inputs, unless an input has that name.
_NO_INPUTS = ("parameters", "id", "stream")


def parse_generate_tensors(
    body: bytes, reader: JsonReader, model: LoadedModel, *, is_stream: bool
) -> InferenceRequest[Reply]:
    """One instance of a model, by the names of its inputs.

    Args:
        body: JSON.
        reader: parses it.
        model: the model that receives the instance.
        is_stream: reply with one event in place of a document.

    Raises:
        InvalidInput: names the key and the rule it breaks.
    """
    document = reader.read(body, strict=True)
    members = {key: plain(document.get(key)) for key in document.keys()}  # noqa: SIM118 - not a dict
    known = {tensor.name for tensor in model.spec.inputs}
    others = {key: members.pop(key) for key in _NO_INPUTS if key in members and key not in known}
    parameters = others.get("parameters")
    parameters = {} if parameters is None else parameters
    if not isinstance(parameters, dict):
        raise InvalidInput(f"'parameters' is {kind_of_value(parameters)}; send an object {{key: value}}")
    if SIGNATURE_NAME in parameters:
        model = of_signature(parameters[SIGNATURE_NAME], model)
    inputs = {name: _shaped(values, name, model) for name, values in named_rows([members], "document", model).items()}
    request_id = read_id(others.get("id"))

    def reply(answer: Answer) -> Reply:
        data = dump(_document(answer, model, request_id))
        return Reply(200, event(data), EVENT_STREAM) if is_stream else Reply(200, data)

    return InferenceRequest(inputs, reply, read_options(parameters), model)


def _shaped(values: Array | Encoded, name: str, model: LoadedModel) -> Array | Encoded:
    """The tensor of one instance, given flat or nested in its shape, or as a single value."""
    if isinstance(values, Encoded) or name in model.spec.whole:
        return values
    spec = model.spec.input(name)
    row: Array = values[:1].reshape(values.shape[1:])  # values[0] would be no array, of instances without dimensions
    if row.ndim == len(spec.shape):
        return values if spec.batched else row
    sizes = [size for size in spec.shape if size != -1]
    if len(sizes) == len(spec.shape) and row.size == spec.elements:
        row = row.reshape(spec.shape)
    elif len(spec.shape) - len(sizes) == 1 and row.ndim <= 1:
        row = _filled(row, spec.shape)
    return row[None] if spec.batched else row


def _filled(row: Array, shape: tuple[int, ...]) -> Array:
    """Flat values in a shape of which one size varies; unchanged if they do not fill it."""
    try:
        return row.reshape(shape)
    except ValueError:
        return row


def _document(answer: Answer, model: LoadedModel, request_id: str) -> dict[str, JsonValue]:
    document: dict[str, Any] = {"id": request_id} if request_id else {}
    document |= {"model_name": model.name, "model_version": str(model.version)}
    for name, values in answer.items():
        flat = values.reshape(-1)
        listed = print_strings(flat) if values.dtype.kind == "O" else flat
        document[name] = listed[0] if isinstance(listed, list) and len(listed) == 1 else listed
        if not isinstance(listed, list) and flat.size == 1:
            document[name] = flat.reshape(())
    return document
