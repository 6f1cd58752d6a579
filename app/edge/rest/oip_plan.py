"""The JSON of an ``infer`` request, parsed and checked against the model, without its tensors."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from app.batching.work import RequestOptions
from app.edge.codec.datatypes import BINARY_ONLY
from app.edge.codec.json_tensor import Document
from app.edge.codec.json_values import JsonValue, is_array, kind_of_value, members, plain
from app.edge.rest import oip_outputs as v2_output
from app.edge.rest.oip_inputs import Declared, check_size, declare, expected_input, read_options, refuse_count
from app.edge.rest.oip_outputs import Requested
from app.edge.rest.signature_name import SIGNATURE_NAME, of_signature
from app.edge.shared_memory.parts import Part, read_part
from app.errors import InvalidInput, quoted
from app.loaded import LoadedModel

HOW_TO_INFER = 'send {"inputs": [{"name": ..., "datatype": ..., "shape": [...], "data": [...]}]}'
_NO_PARAMETERS: dict[str, JsonValue] = {}


class PlannedInput(NamedTuple):
    """One input of a request.

    Attributes:
        declared: the input as the request declares it.
        size: bytes after the JSON; None if the data are in the JSON, or in shared memory.
        data: the data in the JSON, not read yet.
        part: where the data are in shared memory; None if they are not.
    """

    declared: Declared
    size: int | None
    data: JsonValue
    part: Part | None


@dataclass(frozen=True, slots=True)
class Plan:
    """The JSON of a request, parsed and checked, with tensors that are not read yet.

    Attributes:
        inputs: in the order of the bytes after the JSON.
        requested: outputs of the reply.
        options: priority and timeout.
        request_id: returned with the reply; empty if the request has none.
        other_brackets: number of ``[`` outside the data of the only input; -1 with several inputs.
        signature: name of the signature that answers; empty for the default one.
    """

    inputs: list[PlannedInput]
    requested: list[Requested]
    options: RequestOptions
    request_id: str
    other_brackets: int
    signature: str = ""

    @property
    def reusable(self) -> bool:
        """Whether a later request with the same JSON has the same plan and need not be parsed again."""
        return not self.request_id and all(each.size is not None or each.part is not None for each in self.inputs)


def read_plan(document: Document, model: LoadedModel) -> Plan:
    """Everything in the JSON of a request except its tensors.

    Raises:
        InvalidInput: names the input, the output or the parameter, its value and the rule it breaks.
    """
    entries = document.get("inputs")
    if entries is None:
        keys = ", ".join(map(repr, sorted(document.keys()))) or "no key"
        raise InvalidInput(f"missing 'inputs'; the document has {keys}; {HOW_TO_INFER}")
    if not is_array(entries):
        raise InvalidInput(f"Unable to parse 'inputs': it is {kind_of_value(entries)}; send a list of tensors")
    parameters = _parameters(document.get("parameters"), "'parameters'")
    signature = ""
    if SIGNATURE_NAME in parameters and (chosen := of_signature(parameters[SIGNATURE_NAME], model)) is not model:
        model, signature = chosen, parameters[SIGNATURE_NAME]
    if len(entries) not in model.spec.input_counts:
        refuse_count(len(entries), model)
    inputs: dict[str, PlannedInput] = {}
    for index, entry in enumerate(entries):
        place = f"inputs[{index}]"
        fields = _fields(entry, place)
        declared = declare(fields.get("name"), fields.get("datatype"), plain(fields.get("shape")), place)
        if declared.name in inputs:
            raise InvalidInput(f"input {quoted(declared.name)} is given twice")
        expected_input(declared, model)
        own = _parameters(fields.get("parameters"), f"'parameters' of input {quoted(declared.name)}")
        part = read_part(own, f"input {quoted(declared.name)}")
        size = None
        if part is None:
            size = _size(declared, fields, own)
        else:
            _check_in_memory(declared, fields, own, part)
        inputs[declared.name] = PlannedInput(declared, size, fields.get("data"), part)
    outputs = document.get("outputs")
    request_id = document.get("id")
    if request_id is not None and not isinstance(request_id, str):
        raise InvalidInput(f"'id' is {kind_of_value(request_id)}; send a string")
    requested = _requested(plain(outputs), parameters, model)
    if model.spec.binary_only:
        v2_output.check_binary(requested, model)
    return Plan(
        inputs=list(inputs.values()),
        requested=requested,
        options=read_options(parameters),
        request_id=request_id or "",
        # With a single input everything outside its data is known: the lists of inputs and outputs, and its shape.
        other_brackets=2 + (outputs is not None) if len(inputs) == 1 else -1,
        signature=signature,
    )


def _check_in_memory(
    declared: Declared, fields: Mapping[str, JsonValue], parameters: Mapping[str, Any], part: Part
) -> None:
    """Check an input whose data are in shared memory."""
    name = declared.name
    for other, has in (("'data'", "data" in fields), ("'binary_data_size'", "binary_data_size" in parameters)):
        if has:
            raise InvalidInput(f"input {quoted(name)} has both {other} and the parameter 'shared_memory_region'")
    check_size(declared, part.byte_size, "shared_memory_byte_size")


def _size(declared: Declared, fields: Mapping[str, JsonValue], parameters: Mapping[str, Any]) -> int | None:
    """Bytes of an input after the JSON; None if its data are in the JSON."""
    name = declared.name
    size = parameters.get("binary_data_size")
    if size is None:
        if "data" not in fields:
            raise InvalidInput(f"input {quoted(name)} has neither 'data' nor the parameter 'binary_data_size'")
        if declared.datatype in BINARY_ONLY:
            raise InvalidInput(
                f"input {quoted(name)} has datatype {declared.datatype}, which JSON cannot hold; send it as binary data"
            )
        return None
    if "data" in fields:
        raise InvalidInput(
            f"input {quoted(name)} has both 'data' and the parameter 'binary_data_size'; send one of them"
        )
    if isinstance(size, bool) or not isinstance(size, int) or size < 0:
        raise InvalidInput(
            f"'binary_data_size' of input {quoted(name)} is {quoted(size)}; send a whole number of bytes"
        )
    check_size(declared, size, "binary_data_size")
    return size


def _fields(entry: JsonValue, place: str) -> dict[str, JsonValue]:
    """The members of an input; its data are not read yet."""
    if not hasattr(entry, "keys"):
        raise InvalidInput(f"{place} is {kind_of_value(entry)}; send an object with name, shape, datatype and data")
    return members(entry)


def _parameters(value: JsonValue, place: str) -> dict[str, Any]:
    parameters = plain(value)
    if parameters is None:
        return _NO_PARAMETERS
    if not isinstance(parameters, dict):
        raise InvalidInput(f"{place} is {kind_of_value(parameters)}; send an object {{key: value}}")
    return parameters


def _requested(outputs: JsonValue, parameters: Mapping[str, Any], model: LoadedModel) -> list[Requested]:
    """The outputs of the reply, in order, and their form."""
    everywhere = _flag(parameters, "binary_data_output", default=False)
    if outputs is None or outputs == []:
        return [Requested(tensor.name, binary=everywhere) for tensor in model.spec.outputs]
    if not isinstance(outputs, list):
        raise InvalidInput(f"Unable to parse 'outputs': it is {kind_of_value(outputs)}; send a list of objects")
    requested: list[Requested] = []
    for index, entry in enumerate(outputs):
        if not isinstance(entry, dict) or not isinstance(entry.get("name"), str):
            raise InvalidInput(f"outputs[{index}] has no 'name'; send an object {{\"name\": string}}")
        own = _parameters(entry.get("parameters"), f"'parameters' of output {quoted(entry['name'])}")
        binary = _flag(own, "binary_data", default=everywhere)
        part = read_part(own, f"output {quoted(entry['name'])}")
        requested.append(Requested(entry["name"], binary, own.get("classification", 0), part))
    v2_output.check_requested(requested, model)
    return requested


def _flag(parameters: Mapping[str, Any], name: str, *, default: bool) -> bool:
    value = parameters.get(name, default)
    if not isinstance(value, bool):
        raise InvalidInput(f"parameter {quoted(name)} is {quoted(value)}; send true or false")
    return value
