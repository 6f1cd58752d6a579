"""Texts over gRPC: the tensor ``text_input`` continued as tensors ``text_output``, whole or piece by piece.

Source: Triton, decoupled models; names of tensors and parameters as in its generate extension.
"""

from app.batching.work import RequestOptions
from app.contract.strings import length_prefixed
from app.edge.codec.datatypes import BYTES, split_bytes
from app.edge.grpc import inference_pb2 as pb
from app.edge.grpc.messages import plain_parameters
from app.edge.rest.generate import TEXT_INPUT, TEXT_OUTPUT, read_generation
from app.errors import InvalidInput
from app.loaded import LoadedModel
from app.serving.generation import Sampling, generates_text


def asks_for_text(message: pb.ModelInferRequest, model: LoadedModel) -> bool:
    """Whether a request gives a text to continue, in place of the inputs of the model."""
    is_text = len(message.inputs) == 1 and message.inputs[0].name == TEXT_INPUT
    return is_text and generates_text(model)


def parse_text(message: pb.ModelInferRequest) -> tuple[str, Sampling, RequestOptions]:
    """The prompt, the sampling parameters, and priority and timeout.

    Raises:
        InvalidInput: the tensor is not one text, or a parameter breaks a rule of generate.
    """
    [tensor] = message.inputs
    shape = list(tensor.shape)
    if tensor.datatype != BYTES or shape not in ([1], [1, 1]):
        raise InvalidInput(f"input {TEXT_INPUT!r} is {tensor.datatype} of shape {shape}; send BYTES of shape [1]")
    raw = list(message.raw_input_contents)
    texts = split_bytes(raw[0], TEXT_INPUT) if len(raw) == 1 else list(tensor.contents.bytes_contents)
    if len(texts) != 1 or len(raw) > 1:
        raise InvalidInput(f"input {TEXT_INPUT!r} holds {len(texts)} texts; send one")
    try:
        text = bytes(texts[0]).decode("utf-8")
    except UnicodeDecodeError as error:
        raise InvalidInput(f"input {TEXT_INPUT!r} is not UTF-8: {error.reason} at byte {error.start}") from None
    return text, *read_generation(plain_parameters(message.parameters))


def print_piece(text: str, model: LoadedModel, request_id: str) -> pb.ModelInferResponse:
    """A reply with a text, or a piece of one."""
    output = pb.ModelInferResponse.InferOutputTensor(name=TEXT_OUTPUT, datatype=BYTES, shape=[1])
    return pb.ModelInferResponse(
        model_name=model.name,
        model_version=str(model.version),
        id=request_id,
        outputs=[output],
        raw_output_contents=[length_prefixed([text.encode()])],
    )
