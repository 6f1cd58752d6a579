"""Infer requests over gRPC to the brightness model, as Triton's client and as plain messages."""

import grpc
import pytest
import tritonclient.grpc as triton
from tritonclient.grpc import service_pb2 as pb
from tritonclient.utils import InferenceServerException

from tests.support.tiny_inputs import PIXELS
from tests.support.tiny_models import (
    SIDE,
)


def tensor(name, values, datatype, *, api=triton):
    given = api.InferInput(name, list(values.shape), datatype)
    given.set_data_from_numpy(values)
    return given


def pixels(values=PIXELS, *, api=triton):
    return [tensor("pixels", values, "UINT8", api=api)]


def request(name="pixels", datatype="UINT8", shape=(1, SIDE, SIDE), *, model="brightness", raw=(), **contents):
    """A plain message of one input."""
    message = pb.ModelInferRequest(model_name=model, raw_input_contents=raw)
    given = message.inputs.add(name=name, datatype=datatype, shape=shape)
    for field, values in contents.items():
        getattr(given.contents, field).extend(values)
    return message


def good():
    return request(raw=[bytes(16)])


def refusal(call, *arguments, **options):
    """Status code and message of a call that fails."""
    with pytest.raises((grpc.RpcError, InferenceServerException)) as caught:
        call(*arguments, **options)
    error = caught.value
    if isinstance(error, grpc.RpcError):
        return error.code().name, error.details()
    return error.status().removeprefix("StatusCode."), error.message()
