"""The script of ``test_tfs_client.py``: TensorFlow Serving's client, as its documentation uses it.

python tests/support/tfs_real_client.py PORT       calls a service, and prints its answers as JSON
python tests/support/tfs_real_client.py --files    prints the .proto files of its messages, in base64
python tests/support/tfs_real_client.py --both     imports the project's own messages, before TensorFlow and after
"""

import base64
import importlib
import json
import sys
from functools import partial

import grpc
import numpy as np

WAIT_S = 30


def files():
    """The files of both services, and all that these import."""
    from tensorflow_serving.apis import model_service_pb2, prediction_service_pb2

    found = {}
    left = [model_service_pb2.DESCRIPTOR, prediction_service_pb2.DESCRIPTOR]
    while left:
        file = left.pop()
        if file.name not in found:
            found[file.name] = base64.b64encode(file.serialized_pb).decode()
            left.extend(file.dependencies)
    return "\n".join(found.values())


OURS = "app.edge.grpc.server"  # imports all that a service with gRPC does
THEIRS = "tensorflow_serving.apis.prediction_service_pb2_grpc"


def both(*order):
    """Imports modules in this order, and sends a request from one side's messages to the other's, and back."""
    for name in order:
        importlib.import_module(name)
    import tensorflow as tf
    from tensorflow_serving.apis import predict_pb2

    from app.edge.grpc.tfs import serving_pb2 as ours

    request = ours.PredictRequest(model_spec=ours.ModelSpec(name="x"))
    theirs = predict_pb2.PredictRequest.FromString(request.SerializeToString())
    theirs.inputs["x"].CopyFrom(tf.make_tensor_proto([[1.5]]))
    return json.dumps(list(ours.PredictRequest.FromString(theirs.SerializeToString()).inputs["x"].float_val))


def ask(port):
    """The answers of a service with the models brightness, words, rule and types."""
    channel = grpc.insecure_channel(f"127.0.0.1:{port}")
    return json.dumps({**predictions(channel), **examples(channel), **descriptions(channel), **errors(channel)})


def prediction_service(channel):
    from tensorflow_serving.apis.prediction_service_pb2_grpc import PredictionServiceStub

    return PredictionServiceStub(channel)


def predict_request(model, **inputs):
    import tensorflow as tf
    from tensorflow_serving.apis import predict_pb2

    request = predict_pb2.PredictRequest()
    request.model_spec.name = model
    request.model_spec.signature_name = "serving_default"
    for name, values in inputs.items():
        request.inputs[name].CopyFrom(tf.make_tensor_proto(values))
    return request


def images():
    return np.stack([np.full((4, 4), grey, np.uint8) for grey in (0, 128, 255)])


def predictions(channel):
    import tensorflow as tf

    def predict(model, **inputs):
        return prediction_service(channel).Predict(predict_request(model, **inputs), WAIT_S)

    types = {
        "bool": np.array([[True, False]]),
        **{name: np.array([[1, 2]], name) for name in ("uint8", "uint16", "uint32", "uint64")},
        **{name: np.array([[-1, 2]], name) for name in ("int8", "int16", "int32", "int64")},
        **{name: np.array([[0.5, -2]], name) for name in ("float16", "float32", "float64")},
        "string": np.array([[b"Z\xc3\xbcrich", b""]], object),
    }
    sent_back = predict("types", **{f"in_{name}": values for name, values in types.items()}).outputs
    reply = predict("brightness", pixels=images())
    spec = reply.model_spec
    half = tf.constant([[0.5], [-2.0]], tf.bfloat16).numpy()
    return {
        "predict": tf.make_ndarray(reply.outputs["probabilities"]).tolist(),
        "float_val": list(reply.outputs["probabilities"].float_val),
        "spec": [spec.name, spec.version.value, spec.signature_name],
        "texts": tf.make_ndarray(predict("words", text=["a good film", "bad"]).outputs["probabilities"]).tolist(),
        "types": {
            name: [str(found.dtype), (found == values).all().item()]
            for name, values in types.items()
            for found in [tf.make_ndarray(sent_back[f"out_{name}"])]
        },
        "bfloat16": tf.make_ndarray(predict("rule", x=half).outputs["values"]).tolist(),
        "repeated": repeated(channel),
    }


def repeated(channel):
    """A tensor of which TensorFlow sends only the first value."""
    import tensorflow as tf

    request = predict_request("rule")
    request.inputs["x"].CopyFrom(tf.make_tensor_proto(0.5, shape=[3, 1]))
    assert len(request.inputs["x"].float_val) == 1
    return tf.make_ndarray(prediction_service(channel).Predict(request, WAIT_S).outputs["values"]).tolist()


def example(**features):
    import tensorflow as tf

    made = {}
    for name, values in features.items():
        if isinstance(values[0], float):
            made[name] = tf.train.Feature(float_list=tf.train.FloatList(value=values))
        else:
            made[name] = tf.train.Feature(int64_list=tf.train.Int64List(value=values))
    return tf.train.Example(features=tf.train.Features(feature=made))


def examples(channel):
    from tensorflow_serving.apis import classification_pb2, inference_pb2, regression_pb2

    service = prediction_service(channel)
    classify = classification_pb2.ClassificationRequest()
    classify.model_spec.name = "brightness"
    classify.input.example_list.examples.extend([example(pixels=image.ravel().tolist()) for image in images()[::2]])
    regress = regression_pb2.RegressionRequest()
    regress.model_spec.name = "rule"
    regress.input.example_list_with_context.context.CopyFrom(example(x=[0.5]))
    regress.input.example_list_with_context.examples.extend([example(), example(x=[3.0])])
    multi = inference_pb2.MultiInferenceRequest(input=regress.input)
    multi.tasks.add(method_name="tensorflow/serving/regress").model_spec.name = "rule"
    [result] = service.MultiInference(multi, WAIT_S).results
    return {
        "classify": [
            [each.label for each in one.classes] for one in service.Classify(classify, WAIT_S).result.classifications
        ],
        "regress": [each.value for each in service.Regress(regress, WAIT_S).result.regressions],
        "multi": [each.value for each in result.regression_result.regressions],
    }


def descriptions(channel):
    import tensorflow as tf
    from tensorflow_serving.apis import get_model_metadata_pb2, get_model_status_pb2, model_management_pb2
    from tensorflow_serving.apis.model_service_pb2_grpc import ModelServiceStub

    request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
    request.model_spec.name = "brightness"
    metadata = prediction_service(channel).GetModelMetadata(request, WAIT_S)
    signatures = get_model_metadata_pb2.SignatureDefMap()
    unpacked = metadata.metadata["signature_def"].Unpack(signatures)
    info = signatures.signature_def["serving_default"].inputs["pixels"]

    service = ModelServiceStub(channel)
    request = get_model_status_pb2.GetModelStatusRequest()
    request.model_spec.name = "brightness"
    [status] = service.GetModelStatus(request, WAIT_S).model_version_status
    state = get_model_status_pb2.ModelVersionStatus.State.Name(status.state)

    request = model_management_pb2.ReloadConfigRequest()
    for name in ("brightness", "words", "rule", "types"):
        request.config.model_config_list.config.add(name=name, model_platform="tensorflow")
    return {
        "unpacked": unpacked,
        "metadata": [tf.dtypes.as_dtype(info.dtype).name, [each.size for each in info.tensor_shape.dim]],
        "status": [status.version, state, status.status.error_code],
        "reload": service.HandleReloadConfigRequest(request, WAIT_S).status.error_code,
    }


def errors(channel):
    def refused(request):
        try:
            prediction_service(channel).Predict(request, WAIT_S)
        except grpc.RpcError as error:
            return [error.code().name, error.details()]
        return None

    return {
        "unknown": refused(predict_request("dummy_model")),
        "dtype": refused(predict_request("brightness", pixels=images().astype(np.float64))),
    }


if __name__ == "__main__":
    run = {"--files": files, "--before": partial(both, OURS, THEIRS), "--after": partial(both, THEIRS, OURS)}.get(
        sys.argv[1], lambda: ask(sys.argv[1])
    )
    sys.stdout.write(run())
