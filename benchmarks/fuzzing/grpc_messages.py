"""gRPC messages as seeds, and their decoder; a separate module, since Triton's client uses the same names."""

from collections.abc import Callable

import numpy as np
from google.protobuf.message import DecodeError

from app.edge.grpc import inference_pb2 as pb
from app.edge.grpc import message_parts, messages
from app.edge.shared_memory.regions import NO_MEMORY
from app.errors import InvalidInput
from app.loaded import LoadedModel
from app.types import Tensors
from benchmarks.fuzzing.models import SIDE

_PIXELS = np.arange(SIDE * SIDE, dtype=np.uint8)


def requests() -> list[bytes]:
    """Messages of ModelInfer."""
    tensor = pb.ModelInferRequest.InferInputTensor
    contents = pb.InferTensorContents
    pixels = tensor(name="pixels", datatype="UINT8", shape=[1, SIDE, SIDE])
    made = [
        pb.ModelInferRequest(model_name="m", id="7", inputs=[pixels], raw_input_contents=[_PIXELS.tobytes()]),
        pb.ModelInferRequest(
            inputs=[tensor(name="token_ids", datatype="BYTES", shape=[1], contents=contents(bytes_contents=[b"good"]))]
        ),
        pb.ModelInferRequest(
            inputs=[
                tensor(name="x", datatype="FP32", shape=[1, 2], contents=contents(fp32_contents=[1, float("nan")])),
                tensor(name="count", datatype="INT32", shape=[1], contents=contents(int_contents=[4])),
            ],
            outputs=[pb.ModelInferRequest.InferRequestedOutputTensor(name="y")],
        ),
    ]
    made[0].parameters["timeout"].int64_param = 1000
    made[0].parameters["priority"].uint64_param = 1
    made[1].parameters["x"].bool_param = True
    wanted = made[1].outputs.add(name="probabilities")
    wanted.parameters["classification"].int64_param = 1
    return [request.SerializeToString() for request in made]


def decode(data: bytes, *, model: LoadedModel, obey: Callable[[Tensors, LoadedModel], int]) -> None:
    """Parse a message and encode an answer to it.

    Args:
        data: the message.
        model: receives the message.
        obey: checks the inputs against the signature and returns the number of rows.
    """
    request = pb.ModelInferRequest()
    try:
        request.ParseFromString(data)
    except DecodeError as error:  # gRPC itself refuses it
        raise InvalidInput("not a message") from error
    message_parts.is_small(request)
    inference = messages.parse_infer(request, model, NO_MEMORY)
    rows = obey(inference.inputs, model)
    answer = {one.name: np.zeros((rows, *one.shape), np.float32) for one in model.spec.outputs}
    inference.print_answer(answer)
