"""Messages of TensorFlow Serving's protocol as seeds, and their decoders."""

from collections.abc import Callable
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError

from app.edge.grpc.tfs import messages
from app.edge.grpc.tfs import serving_pb2 as pb
from app.edge.grpc.tfs.tensors import Room
from app.edge.grpc.wire_size import FieldLimit, check_fields, parts_of
from app.errors import InvalidInput
from app.loaded import LoadedModel
from app.types import Tensors
from benchmarks.fuzzing.models import SIDE

_PIXELS = list(range(SIDE * SIDE))
_ROOM_BYTES = 2**20
PARSERS: dict[str, tuple[Any, messages.Parse]] = {
    "predict": (pb.PredictRequest, messages.parse_predict),
    "classify": (pb.ClassificationRequest, messages.parse_classify),
    "regress": (pb.RegressionRequest, messages.parse_regress),
    "multi": (pb.MultiInferenceRequest, messages.parse_multi),
}


def requests(verb: str) -> list[bytes]:
    """Messages of a method."""
    made = {"predict": _predictions, "multi": _multi}.get(verb, lambda: _of_examples(PARSERS[verb][0]))()
    return [request.SerializeToString() for request in made]


def decode(data: bytes, *, verb: str, model: LoadedModel, obey: Callable[[Tensors, LoadedModel], int]) -> None:
    """Parse a message and encode an answer to it.

    Args:
        data: the message.
        verb: a key of ``PARSERS``.
        model: receives the message.
        obey: checks the inputs against the signature and returns the number of rows.
    """
    kind, parse = PARSERS[verb]
    try:
        check_fields(data, FieldLimit(parts_of(kind.DESCRIPTOR)))
        request = kind.FromString(data)
    except (DecodeError, ValueError) as error:  # the service refuses it
        raise InvalidInput("not a message") from error
    if verb == "multi":
        messages.first_spec(request)
    messages.is_small(request)
    inference = parse(request, model, Room(_ROOM_BYTES))
    rows = obey(inference.inputs, model)
    answer = {one.name: np.zeros((rows, *one.shape), np.float32) for one in model.spec.outputs}
    inference.print_answer(answer).SerializeToString()


def _tensor(dtype: Any, *sizes: int, **fields: Any) -> pb.TensorProto:
    shape = pb.TensorShapeProto(dim=[pb.TensorShapeProto.Dim(size=size) for size in sizes])
    return pb.TensorProto(dtype=dtype, tensor_shape=shape, **fields)


def _predictions() -> list[pb.PredictRequest]:
    spec = pb.ModelSpec(name="m", signature_name="serving_default", version_label="stable")
    half = np.array([1, 2], np.float16).view(np.uint16).tolist()
    inputs: list[dict[str, pb.TensorProto]] = [
        {"pixels": _tensor(pb.DT_UINT8, 1, SIDE, SIDE, tensor_content=bytes(_PIXELS))},
        {"pixels": _tensor(pb.DT_UINT8, 2, SIDE, SIDE, int_val=_PIXELS)},
        {"text": _tensor(pb.DT_STRING, 2, string_val=[b"good", b"bad film"])},
        {"token_ids": _tensor(pb.DT_STRING, 2, tensor_content=b"\x04\x03goodbad")},
        {"x": _tensor(pb.DT_FLOAT, 1, 2, float_val=[1.5]), "count": _tensor(pb.DT_INT32, 1, int_val=[4])},
        {"x": _tensor(pb.DT_HALF, 1, 2, half_val=half), "count": _tensor(pb.DT_INT8, 1, int_val=[4])},
        {"x": _tensor(pb.DT_BFLOAT16, 1, 2, half_val=[16256]), "count": _tensor(pb.DT_UINT8, 1)},
    ]
    return [pb.PredictRequest(model_spec=spec, inputs=each) for each in inputs] + [
        pb.PredictRequest(model_spec=spec, inputs=inputs[0], output_filter=["probabilities"])
    ]


def _inputs() -> list[pb.Input]:
    def example(**features: pb.Feature) -> pb.Example:
        return pb.Example(features=pb.Features(feature=features))

    def integers(*values: int) -> pb.Feature:
        return pb.Feature(int64_list=pb.Int64List(value=values))

    def floats(*values: float) -> pb.Feature:
        return pb.Feature(float_list=pb.FloatList(value=values))

    text = pb.Feature(bytes_list=pb.BytesList(value=[b"a good film"]))
    context = example(count=integers(3))
    return [
        pb.Input(example_list=pb.ExampleList(examples=[example(pixels=integers(*_PIXELS))])),
        pb.Input(example_list=pb.ExampleList(examples=[example(text=text)] * 2)),
        pb.Input(example_list=pb.ExampleList(examples=[example(token_ids=integers(1, 2))])),
        pb.Input(example_list=pb.ExampleList(examples=[example(x=floats(1.5))])),
        pb.Input(
            example_list_with_context=pb.ExampleListWithContext(
                examples=[example(x=floats(1.5, -2)), example(x=floats(0, 1), count=integers(4))], context=context
            )
        ),
    ]


def _of_examples(kind: Any) -> list[Any]:
    return [kind(model_spec=pb.ModelSpec(name="m"), input=each) for each in _inputs()]


def _multi() -> list[pb.MultiInferenceRequest]:
    spec = pb.ModelSpec(name="m")
    return [
        pb.MultiInferenceRequest(tasks=[pb.InferenceTask(model_spec=spec, method_name=method)], input=each)
        for each in _inputs()
        for method in (messages.CLASSIFY_METHOD, messages.REGRESS_METHOD)
    ]
