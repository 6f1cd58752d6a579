"""``ModelInfer`` messages to tensors, and outputs to its reply.

Source: Open Inference Protocol, gRPC. What the protocol and Triton's classification and schedule policy extensions
leave open is the same as over REST.
"""

from collections.abc import Mapping
from math import prod
from typing import Any

import numpy as np

from app.batching.work import Answer
from app.edge.call import InferenceRequest
from app.edge.codec.datatypes import (
    BYTES,
    CONVERTED,
    NUMPY,
    array_from_bits,
    array_from_bytes,
    array_from_numbers,
    split_bytes,
)
from app.edge.codec.encoded import Encoded
from app.edge.grpc import inference_pb2 as pb
from app.edge.grpc.message_parts import CONTENTS
from app.edge.rest.oip_inputs import (
    Declared,
    bytes_input,
    check_size,
    declare,
    expected_input,
    read_options,
    refuse_count,
)
from app.edge.rest.oip_outputs import Requested, check_requested, printed_outputs
from app.edge.rest.signature_name import SIGNATURE_NAME, of_signature
from app.edge.shared_memory.parts import read_part
from app.edge.shared_memory.regions import Memory
from app.errors import InvalidInput
from app.loaded import LoadedModel
from app.types import Array

_ELEMENT_TYPES = {
    "bool_contents": np.dtype("?"),
    "int_contents": np.dtype("i4"),
    "int64_contents": np.dtype("i8"),
    "uint_contents": np.dtype("u4"),
    "uint64_contents": np.dtype("u8"),
    "fp32_contents": np.dtype("f4"),
    "fp64_contents": np.dtype("f8"),
}


def parse_infer(
    request: pb.ModelInferRequest, model: LoadedModel, memory: Memory
) -> InferenceRequest[pb.ModelInferResponse]:
    """Tensors of a request.

    Args:
        request: as sent. ``raw_input_contents`` has no entry for an input in shared memory.
        model: the version that the request names, or its default one; a parameter may choose another signature of it.
        memory: shared with the client.

    Raises:
        NotFound, Forbidden: see ``Memory.check``.
        InvalidInput: names the input, the value and the rule it breaks, in the words of the REST interface.
    """
    parameters = plain_parameters(request.parameters)
    if SIGNATURE_NAME in parameters:
        model = of_signature(parameters[SIGNATURE_NAME], model)
    if len(request.inputs) not in model.spec.input_counts:
        refuse_count(len(request.inputs), model)
    raw: list[bytes] = list(request.raw_input_contents)
    elsewhere = sum("shared_memory_region" in tensor.parameters for tensor in request.inputs)
    next_raw = iter(raw)
    inputs: dict[str, Array | Encoded] = {}
    for index, tensor in enumerate(request.inputs):
        # A field that was not sent is empty here; the rules expect None.
        declared = declare(tensor.name or None, tensor.datatype or None, list(tensor.shape), f"inputs[{index}]")
        if declared.name in inputs:
            raise InvalidInput(f"input {declared.name!r} is given twice")
        expected_input(declared, model)
        own = plain_parameters(tensor.parameters) if tensor.parameters else None
        part = None if own is None else read_part(own, f"input {declared.name!r}")
        if part is not None:
            if tensor.HasField("contents"):
                raise InvalidInput(f"input {declared.name!r} has both contents and 'shared_memory_region'")
            check_size(declared, part.byte_size, "shared_memory_byte_size")
            inputs[declared.name] = _raw(declared, memory.read(part), model)
        elif not raw:
            inputs[declared.name] = _typed(declared, tensor, model)
        elif tensor.HasField("contents"):
            raise InvalidInput(
                f"contents field must not be specified when using raw_input_contents for {declared.name!r} "
                f"for model {model.name!r}"
            )
        elif len(raw) != len(request.inputs) - elsewhere:
            raise _wrong_count(raw, len(request.inputs) - elsewhere, model)
        else:
            inputs[declared.name] = _raw(declared, next(next_raw), model)
    if next(next_raw, None) is not None:  # all inputs are in shared memory
        raise _wrong_count(raw, 0, model)
    requested, options = requested_outputs(request, model), read_options(parameters)
    for one in requested:
        if one.part is not None:
            memory.check(one.part)
    return InferenceRequest(
        inputs, lambda answer: print_infer(answer, requested, model, request.id, memory), options, model
    )


def _wrong_count(raw: list[bytes], expected: int, model: LoadedModel) -> InvalidInput:
    return InvalidInput(
        f"expected {expected} raw_input_contents, one for each input, but got {len(raw)} for model {model.name!r}"
    )


def print_infer(
    answer: Answer, requested: list[Requested], model: LoadedModel, request_id: str, memory: Memory
) -> pb.ModelInferResponse:
    """The reply: the tensors' metadata, and their bytes in ``raw_output_contents``, or in shared memory."""
    reply = pb.ModelInferResponse(model_name=model.name, model_version=str(model.version), id=request_id)
    for one, output in printed_outputs(answer, requested, model):
        described = reply.outputs.add(name=output.name, datatype=output.datatype, shape=output.shape)
        if one.part is None:
            reply.raw_output_contents.append(output.raw())
            continue
        reply.raw_output_contents.append(b"")  # clients find the bytes of an output by its place
        raw = output.raw()
        memory.write(one.part, raw)
        described.parameters["shared_memory_region"].string_param = one.part.region
        described.parameters["shared_memory_byte_size"].int64_param = len(raw)
        if one.part.offset:
            described.parameters["shared_memory_offset"].int64_param = one.part.offset
    return reply


def _raw(declared: Declared, data: bytes, model: LoadedModel) -> Array | Encoded:
    """The tensor of one input from its bytes."""
    is_converted = declared.datatype in CONVERTED
    if is_converted and declared.datatype == BYTES:
        return bytes_input(split_bytes(data, declared.name), declared, model)
    expected = NUMPY[declared.datatype].itemsize * prod(declared.shape)
    if len(data) != expected:
        raise InvalidInput(
            f"raw_input_contents of input {declared.name!r} have {len(data)} bytes; {declared.datatype} of shape "
            f"{declared.shape} has {expected} bytes"
        )
    if is_converted:
        return array_from_bits(data, declared.shape)
    return array_from_bytes(data, declared.datatype, declared.shape)


def _typed(declared: Declared, tensor: pb.ModelInferRequest.InferInputTensor, model: LoadedModel) -> Array | Encoded:
    """The tensor of one input from its typed values."""
    name, datatype, shape = declared.name, declared.datatype, declared.shape
    if not tensor.HasField("contents"):
        raise InvalidInput(f"input {name!r} has neither raw_input_contents nor contents")
    if datatype not in CONTENTS:
        raise InvalidInput(
            f"input {name!r} has datatype {datatype}, which contents cannot hold; send raw_input_contents"
        )
    expected = CONTENTS[datatype]
    for descriptor, _ in tensor.contents.ListFields():
        if descriptor.name != expected:
            raise InvalidInput(f"input {name!r} of datatype {datatype} has {descriptor.name}; send {expected}")
    values = getattr(tensor.contents, expected)
    if datatype == BYTES:
        return bytes_input(list(values), declared, model)
    if len(values) != prod(shape):
        raise InvalidInput(
            f"{expected} of input {name!r} hold {len(values)} values; shape {shape} requires {prod(shape)}"
        )
    return array_from_numbers(values, _ELEMENT_TYPES[expected]).reshape(shape)


def requested_outputs(request: pb.ModelInferRequest, model: LoadedModel) -> list[Requested]:
    """The outputs of the reply, in order, and their form."""
    if not request.outputs:
        return [Requested(tensor.name) for tensor in model.spec.outputs]
    requested = []
    for output in request.outputs:
        own = plain_parameters(output.parameters)
        part = read_part(own, f"output {output.name!r}")
        requested.append(Requested(output.name, class_count=own.get("classification", 0), part=part))
    check_requested(requested, model)
    return requested


def plain_parameters(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters of any message as Python values; an unset parameter is None."""
    plain = {}
    for name, parameter in parameters.items():
        which = parameter.WhichOneof("parameter_choice")
        plain[name] = None if which is None else getattr(parameter, which)
    return plain
