"""The parts of a ``ModelInfer`` message: how many it may have, and whether they are small."""

from app.contract.model_spec import MOST_TENSORS
from app.contract.strings import PREFIX_BYTES
from app.edge.codec.datatypes import BYTES
from app.edge.grpc import inference_pb2 as pb
from app.edge.rest.oip_inputs import MAX_DIMENSIONS
from app.errors import InvalidInput

# Datatype -> field of InferTensorContents for its values. FP16 and BF16 have no field.
CONTENTS = {
    "BOOL": "bool_contents",
    "INT8": "int_contents",
    "INT16": "int_contents",
    "INT32": "int_contents",
    "INT64": "int64_contents",
    "UINT8": "uint_contents",
    "UINT16": "uint_contents",
    "UINT32": "uint_contents",
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    BYTES: "bytes_contents",
}
# More typed values than this are converted in a worker thread, since each of them becomes a Python object.
INLINE_VALUES = 8_192
# Of a message, and of a tensor.
MOST_PARAMETERS = 1_024


def check_parts(request: pb.ModelInferRequest) -> None:
    """Refuse a message with more parts than any model has, before anything walks over them.

    Raises:
        InvalidInput: which part there is too often.
    """
    parts = {"inputs": request.inputs, "outputs": request.outputs, "raw_input_contents": request.raw_input_contents}
    for name, given in parts.items():
        _check_count(name, len(given), MOST_TENSORS)
    _check_count("parameters", len(request.parameters), MOST_PARAMETERS)
    for tensor in (*request.inputs, *request.outputs):
        _check_count(f"parameters of {tensor.name!r}", len(tensor.parameters), MOST_PARAMETERS)
    for tensor in request.inputs:
        _check_count(f"shape of {tensor.name!r}", len(tensor.shape), MAX_DIMENSIONS)


def _check_count(name: str, count: int, most: int) -> None:
    if count > most:
        raise InvalidInput(f"{name}: {count} entries; at most {most} are accepted")


def is_small(request: pb.ModelInferRequest) -> bool:
    """Whether parsing costs less than a thread hop. Raw numbers are used without a copy."""
    values = 0
    for index, tensor in enumerate(request.inputs):
        if tensor.HasField("contents"):
            values += max(len(getattr(tensor.contents, field)) for field in CONTENTS.values())
        if "shared_memory_region" in tensor.parameters:  # of any size
            return False
        if tensor.datatype == BYTES and index < len(request.raw_input_contents):
            values += len(request.raw_input_contents[index]) // PREFIX_BYTES
    return values <= INLINE_VALUES
