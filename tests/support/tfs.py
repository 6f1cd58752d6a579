"""A client of TensorFlow Serving's gRPC services, of the project's own messages."""

import os
import subprocess
import sys

import grpc
import numpy as np
import pytest

from app.contract.dtypes import NAMES
from app.edge.grpc.tfs import serving_pb2 as pb
from tests.support.service import ROOT

CLASSIFY, REGRESS = "tensorflow/serving/classify", "tensorflow/serving/regress"

PREDICTION, MODEL = "tensorflow.serving.PredictionService", "tensorflow.serving.ModelService"
_DTYPES = {np.dtype(dtype): names.tensorflow for dtype, names in NAMES.items() if dtype not in {"string", "bfloat16"}}


# TensorFlow prints nothing, and does not import Keras 3 for a second.
QUIET = {"TF_CPP_MIN_LOG_LEVEL": "3", "TF_USE_LEGACY_KERAS": "1"}


def tfs_client():
    """The directory of TensorFlow Serving's own client, for PYTHONPATH; ``make test`` installs it."""
    found = list((ROOT / "build/tfs-client-venv/lib").glob("python3*/site-packages"))
    assert found, "make build/tfs-client-venv/.installed"
    return found[0]


class TfsClient:
    """Calls of both services by the names of their methods."""

    def __init__(self, port, host="127.0.0.1"):
        self.channel = grpc.insecure_channel(f"{host}:{port}")
        for service in (PREDICTION, MODEL):
            for method in pb.DESCRIPTOR.services_by_name[service.rpartition(".")[2]].methods:
                request, response = (getattr(pb, each.name) for each in (method.input_type, method.output_type))
                call = self.channel.unary_unary(
                    f"/{service}/{method.name}",
                    request_serializer=request.SerializeToString,
                    response_deserializer=response.FromString,
                )
                setattr(self, method.name, call)

    def predict(self, inputs, model="brightness", *, outputs=(), options=None, **spec):
        """The reply to ``Predict``."""
        return self.Predict(predict_request(inputs, model, outputs=outputs, **spec), **(options or {}))

    def close(self):
        self.channel.close()


def refusal(call, *arguments, **options):
    """Status code and message of a call that fails."""
    with pytest.raises(grpc.RpcError) as caught:
        call(*arguments, **options)
    assert dict(caught.value.trailing_metadata())["x-request-id"]
    return caught.value.code().name, caught.value.details()


def model_spec(model="brightness", *, version=None, label=None, signature=""):
    spec = pb.ModelSpec(name=model, signature_name=signature)
    if version is not None:
        spec.version.value = version
    if label is not None:
        spec.version_label = label
    return spec


def predict_request(inputs, model="brightness", *, outputs=(), **spec):
    request = pb.PredictRequest(model_spec=model_spec(model, **spec), output_filter=outputs)
    for name, each in inputs.items():
        request.inputs[name].CopyFrom(each if isinstance(each, pb.TensorProto) else tensor(each))
    return request


def shaped(dtype, shape, **fields):
    """A TensorProto of any content."""
    proto = pb.TensorProto(dtype=getattr(pb, dtype), **fields)
    proto.tensor_shape.SetInParent()
    for size in shape:
        proto.tensor_shape.dim.add(size=size)
    return proto


def tensor(values):
    """Numbers in tensor_content; objects as strings."""
    if values.dtype.kind == "O":
        return shaped("DT_STRING", values.shape, string_val=list(values.ravel()))
    return shaped(_DTYPES[values.dtype], values.shape, tensor_content=values.tobytes())


def feature(values):
    """A Feature with the kind of the values: bytes, floats or integers; without values, a Feature without a kind."""
    if not len(values):
        return pb.Feature()
    if isinstance(values[0], bytes):
        return pb.Feature(bytes_list=pb.BytesList(value=values))
    if isinstance(values[0], float):
        return pb.Feature(float_list=pb.FloatList(value=values))
    return pb.Feature(int64_list=pb.Int64List(value=values))


def example(**features):
    made = pb.Example()
    for name, values in features.items():
        made.features.feature[name].CopyFrom(feature(values) if isinstance(values, list) else values)
    return made


def examples(*each, context=None):
    """An Input of Examples, with a context if there is one."""
    if context is None:
        return pb.Input(example_list=pb.ExampleList(examples=each))
    return pb.Input(example_list_with_context=pb.ExampleListWithContext(examples=each, context=context))


def numbers(proto):
    """The values of a reply's tensor of float32."""
    assert proto.dtype == pb.DT_FLOAT
    return np.array(proto.float_val, np.float32).reshape([dim.size for dim in proto.tensor_shape.dim])


def real_client(argument):
    """The output of TensorFlow Serving's client."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "tests/support/tfs_real_client.py"), argument],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": f"{tfs_client()}{os.pathsep}{ROOT}", **QUIET},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
