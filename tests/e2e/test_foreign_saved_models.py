"""SavedModels that other tools wrote, in TensorFlow Serving's layout and in Triton's, with nothing of Atelier's."""

import base64
import json
import os
import shutil

import numpy as np
import pytest
import tritonclient.grpc as triton_grpc
import tritonclient.http as triton_http
from onnx import TensorProto, helper

from app.contract.strings import length_prefixed
from app.edge.grpc.tfs import serving_pb2 as tfs_pb
from tests.support.bare_models import write_graph
from tests.support.commands import run
from tests.support.grpc_requests import refusal as grpc_refusal
from tests.support.grpc_service import GrpcService
from tests.support.images import png
from tests.support.model_state import reason
from tests.support.saved_models import (
    spec,
    write_brightness,
    write_graphs_by_tags,
    write_line,
    write_saved_model,
    write_several,
    write_words,
)
from tests.support.service import running
from tests.support.tfs import TfsClient, model_spec, predict_request, refusal, shaped

# TensorFlow takes some seconds to start, and each SavedModel has a separate process.
PATIENCE_S = 300
UNKNOWN_SIGNATURE = (
    "signature 'other' does not exist; the model has 'serving_default', 'brain', 'centre', 'count', 'scaled'"
)
NOT_A_NAME = "'signature_name' is a number; send a string"
OCTETS = {"Content-Type": "application/octet-stream"}


COLUMNS = [f"column_{index}" for index in range(8)]


def double_all(**columns):
    return {f"twice_{name}": 2.0 * values for name, values in columns.items()}


# Models with the signatures of "several", and the parameters of Triton's TensorFlow backend in their config.pbtxt.
CHOSEN = {
    "count-texts": {"TF_SIGNATURE_DEF": "count", "TF_GRAPH_TAG": "serve", "TF_NUM_INTRA_THREADS": "2"},
    "usual": {"TF_SIGNATURE_DEF": "serving_default", "TF_GRAPH_TAG": ""},
    "no-signature": {"TF_SIGNATURE_DEF": "nobody"},
    "other-tag": {"TF_GRAPH_TAG": "train"},
    "initialized": {"TF_INIT_OPS_FILE": "init_ops.json"},
}


def write_good(models):
    write_line(models / "line" / "1")
    write_brightness(models / "brightness" / "1")
    write_words(models / "words" / "1" / "model.savedmodel")
    write_saved_model(models / "four" / "1", {"serving_default": (lambda x: {"y": x + 1.0}, {"x": spec([4])})})
    write_graphs_by_tags(models / "tagged" / "1", [(["serve", "tpu"], 3.0), (["serve"], 2.0)])
    write_line(models / "both" / "1", slope=3.0)
    write_tripled(models, "both", slope=30.0)
    write_tripled(models, "graph", slope=30.0)
    write_several(models / "several" / "1")
    columns = {name: spec([None, 1]) for name in reversed(COLUMNS)}
    write_saved_model(models / "columns" / "1", {"serving_default": (double_all, columns)})
    for name, parameters in CHOSEN.items():
        shutil.copytree(models / "several" / "1", models / name / "1" / "model.savedmodel")
        lines = [
            f'parameters {{ key: "{key}" value {{ string_value: "{each}" }} }}' for key, each in parameters.items()
        ]
        (models / name / "config.pbtxt").write_text("\n".join(['platform: "tensorflow_savedmodel"', *lines]))
    (models / "served" / "1").mkdir(parents=True)
    shutil.copytree(models / "line" / "1", models / "served" / "1" / "net")
    (models / "served" / "config.pbtxt").write_text(
        """
        backend: "tensorflow" default_model_filename: "net" max_batch_size: 16
        input { name: "x" data_type: TYPE_FP32 dims: 3 }
        output { name: "y" data_type: TYPE_FP32 dims: 3 }
        """
    )


def write_tripled(models, name, *, slope):
    """An ONNX graph, y = slope * x."""
    directory = models / name / "1"
    there = directory.is_dir()
    write_graph(
        models,
        f".{name}" if there else name,
        [helper.make_node("Mul", ["x", "slope"], ["y"])],
        [("x", TensorProto.FLOAT, ["rows", 3])],
        [("y", TensorProto.FLOAT, ["rows", 3])],
        {"slope": np.float32(slope)},
    )
    if there:
        (models / f".{name}" / "1" / "model.onnx").rename(directory / "model.onnx")
        shutil.rmtree(models / f".{name}")


def write_graphs_for_training(models):
    write_graphs_by_tags(models / "trained" / "1", [(["train"], 2.0), (["eval"], 3.0)])


def write_nothing(models):
    (models / "nothing" / "1").mkdir(parents=True)
    (models / "nothing" / "1" / "saved_model.pb").touch()


def write_garbage(models):
    directory = models / "garbage" / "1"
    directory.mkdir(parents=True)
    (directory / "saved_model.pb").write_bytes(b"\xff\xff\xff\xff\xff\xff\xff\xff\x7f not a protocol buffer")


def write_half(models):
    """A copy in progress without the weights."""
    directory = models / "half" / "1"
    shutil.copytree(models / "line" / "1", directory)
    shutil.rmtree(directory / "variables")


def write_without_default(models):
    write_line(models / "other-signature" / "1", signature="score")


def write_unknown_rank(models):
    write_saved_model(models / "rankless" / "1", {"serving_default": (lambda x: {"y": x * 2.0}, {"x": spec(None)})})


def write_complex(models):
    write_saved_model(
        models / "short" / "1", {"serving_default": (lambda x: {"y": x}, {"x": spec([None, 2], "complex64")})}
    )


def write_huge(models):
    directory = models / "huge" / "1"
    directory.mkdir(parents=True)
    with (directory / "saved_model.pb").open("wb") as file:
        file.truncate(3 * 2**30)


def write_links_out(models):
    outside = models.parent / "outside"
    write_line(outside)
    directory = models / "linked" / "1"
    directory.mkdir(parents=True)
    (directory / "saved_model.pb").symlink_to(outside / "saved_model.pb")
    (directory / "variables").mkdir()
    for path in (outside / "variables").iterdir():
        shutil.copy(path, directory / "variables")
    directory = models / "linked-directory" / "1"
    directory.mkdir(parents=True)
    shutil.copy(outside / "saved_model.pb", directory)
    (directory / "variables").symlink_to(outside / "variables")


def write_fifo(models):
    directory = models / "fifo" / "1"
    directory.mkdir(parents=True)
    os.mkfifo(directory / "saved_model.pb")


REFUSED = {
    "a SavedModel that is garbage": (write_garbage, "garbage", "garbage/1/saved_model.pb: it is damaged"),
    "an empty file": (write_nothing, "nothing", "nothing/1/saved_model.pb: it contains no graph"),
    "graphs that are not for serving": (
        write_graphs_for_training,
        "trained",
        "trained/1/saved_model.pb: it has graphs with the tags ['train'], ['eval']; one with the tag 'serve' alone",
    ),
    "a copy without the weights": (write_half, "half", "any matching files for {models}/half/1/variables/variables"),
    "no signature serving_default": (
        write_without_default,
        "other-signature",
        "it has no signature 'serving_default'; it has ['score']",
    ),
    "an unknown rank": (write_unknown_rank, "rankless", "'x' has an unknown number of dimensions; export the model"),
    "elements that are not served": (write_complex, "short", "input 'x' is a complex64; tensors of bool, uint8"),
    "a file that says it is huge": (write_huge, "huge", "saved_model.pb has 3221225472 bytes; a graph has at most"),
    "a link to a file outside": (write_links_out, "linked", "saved_model.pb is a link to a directory, or leads out of"),
    "a link to a directory outside": (write_links_out, "linked-directory", "variables is a link to a directory, or"),
}


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    """A service with all SavedModels, valid and invalid."""
    models = tmp_path_factory.mktemp("saved-models") / "models"
    models.mkdir()
    write_good(models)
    for write in dict.fromkeys(write for write, _, _ in REFUSED.values()):
        write(models)
    write_fifo(models)
    service = GrpcService(models, wait_ready=False)
    service.wait_for_log("models serve", within_s=PATIENCE_S)
    yield from running(service)


def b64(data):
    return {"b64": base64.b64encode(data).decode()}


def picture(value):
    return png(np.full((8, 6), value, np.uint8))


def test_a_saved_model_serves_with_its_own_signature(service):
    metadata = service.client.get("/v2/models/line").json()
    assert metadata["platform"] == "tensorflow_savedmodel"
    assert metadata["inputs"] == [{"name": "x", "datatype": "FP32", "shape": [-1, 3]}]
    assert metadata["outputs"] == [{"name": "y", "datatype": "FP32", "shape": [-1, 3]}]
    reply = service.client.post("/v1/models/line:predict", json={"instances": [[1, 2, 3], [0, 0, 1]]})
    assert reply.json() == {"predictions": [[1, 3, 5], [-1, -1, 1]]}
    assert reason(service, "line") == (
        "READY",
        "unverified: it has no golden samples; its batches agree with single instances",
    )
    assert service.metric("atelier_model_verified", model="line") == 0


def test_of_several_graphs_the_one_for_serving_answers(service):
    reply = service.client.post("/v1/models/tagged:predict", json={"instances": [[1, 2, 3]]})
    assert reply.json() == {"predictions": [[2.0, 4.0, 6.0]]}


def test_tensors_are_in_the_order_of_their_names_in_every_process(service):
    """TensorFlow's own order differs from process to process, and so would metadata, messages and outputs."""
    metadata = service.client.get("/v2/models/columns").json()
    assert [tensor["name"] for tensor in metadata["inputs"]] == COLUMNS
    assert [tensor["name"] for tensor in metadata["outputs"]] == [f"twice_{name}" for name in COLUMNS]
    row = {"instances": [dict.fromkeys(COLUMNS, 1)]}
    assert "'column_0'" in service.client.post("/v1/models/columns:predict", json=row).json()["error"]


def test_a_saved_model_is_verified(service, tmp_path):
    texts, answers = np.array(["a small text", "Zürich"]), np.array([b"A SMALL TEXT", "ZüRICH".encode()])
    np.savez(tmp_path / "samples.npz", text=texts, upper=answers, length=[12, 7])
    arguments = ("words", "--samples", tmp_path / "samples.npz", "--models-dir", service.models)
    done = run("verify", *arguments, ATELIER_STATE_DIR=str(tmp_path / "state"))
    assert done.returncode == 0, done.stderr
    assert "words version 1 is verified: 2 samples agree" in done.stdout


def test_a_first_dimension_that_is_fixed_is_part_of_the_tensor(service):
    assert service.client.get("/v2/models/four").json()["inputs"][0]["shape"] == [4]
    reply = service.client.post("/v1/models/four:predict", json={"inputs": [1, 2, 3, 4]})
    assert reply.json() == {"outputs": [2, 3, 4, 5]}
    assert "each request runs as a whole" in reason(service, "four")[1]
    reply = service.client.post("/v1/models/four:predict", json={"inputs": [1, 2, 3]})
    assert reply.status_code == 400


def test_a_version_with_both_follows_the_settings_and_one_with_one_runs_by_that(service):
    rows = {"instances": [[1, 2, 3]]}
    assert service.client.post("/v1/models/both:predict", json=rows).json() == {"predictions": [[30, 60, 90]]}
    assert service.client.post("/v1/models/graph:predict", json=rows).json() == {"predictions": [[30, 60, 90]]}
    (service.models / "both" / "serving.json").write_text('{"backend": "savedmodel"}')
    reply = service.client.post("/v2/repository/models/both/load", timeout=PATIENCE_S)
    assert reply.status_code == 200, reply.text
    assert service.client.post("/v1/models/both:predict", json=rows).json() == {"predictions": [[2, 5, 8]]}


def test_tritons_settings_name_the_directory_of_the_saved_model(service):
    config = service.client.get("/v2/models/served/config").json()
    assert config["platform"] == "tensorflow_savedmodel"
    assert config["max_batch_size"] <= 16  # what is worthwhile of them is measured
    given = triton_grpc.InferInput("x", [2, 3], "FP32")
    given.set_data_from_numpy(np.array([[1, 2, 3], [4, 5, 6]], np.float32))
    assert service.triton.infer("served", [given]).as_numpy("y").tolist() == [[1, 3, 5], [7, 9, 11]]


def test_images_that_the_graph_decodes_share_batches(service):
    assert "its batches agree with single instances" in reason(service, "brightness")[1]


@pytest.mark.parametrize("layout", ["rows", "named rows", "columns", "named columns"])
def test_bytes_over_v1_are_base64(service, layout):
    encoded = [b64(picture(0)), b64(picture(255))]
    body, answer = {
        "rows": ({"instances": encoded}, {"predictions": [0, 1]}),
        "named rows": ({"instances": [{"image_bytes": each} for each in encoded]}, {"predictions": [0, 1]}),
        "columns": ({"inputs": encoded}, {"outputs": [0, 1]}),
        "named columns": ({"inputs": {"image_bytes": encoded}}, {"outputs": [0, 1]}),
    }[layout]
    assert service.client.post("/v1/models/brightness:predict", json=body).json() == answer


@pytest.mark.parametrize("headers", [OCTETS, {"Content-Type": "image/png"}], ids=["octets", "png"])
def test_a_raw_body_is_one_string(service, headers):
    reply = service.client.post("/v1/models/brightness:predict", content=picture(255), headers=headers)
    assert reply.json() == {"predictions": [1]}


def test_a_raw_body_over_v2_is_one_string(service):
    headers = {**OCTETS, "Inference-Header-Content-Length": "0"}
    reply = service.client.post("/v2/models/brightness/infer", content=picture(255), headers=headers)
    assert np.frombuffer(reply.content[-4:], np.float32) == [1]


@pytest.mark.parametrize("is_binary", [True, False])
def test_bytes_over_v2_with_tritons_client(service, is_binary):
    client = triton_http.InferenceServerClient(service.url.removeprefix("http://"))
    texts = np.array([b"a small text", "Zürich".encode()], object)
    tensor = triton_http.InferInput("text", [2], "BYTES")
    tensor.set_data_from_numpy(texts, binary_data=is_binary)
    expected = [triton_http.InferRequestedOutput(name, binary_data=is_binary) for name in ("upper", "length")]
    found = client.infer("words", [tensor], outputs=expected)
    assert found.as_numpy("length").tolist() == [12, 7]
    first = found.as_numpy("upper")[0]
    assert (first if isinstance(first, str) else first.decode()) == "A SMALL TEXT"
    client.close()


def test_bytes_over_grpc_need_not_be_utf8(service):
    pictures = np.array([picture(255), picture(0)], object)
    tensor = triton_grpc.InferInput("image_bytes", [2], "BYTES")
    tensor.set_data_from_numpy(pictures)
    assert service.triton.infer("brightness", [tensor]).as_numpy("brightness").tolist() == [1, 0]


def test_bytes_over_v2_without_a_client(service):
    data = length_prefixed([picture(255)])
    entry = {"name": "image_bytes", "datatype": "BYTES", "shape": [1], "parameters": {"binary_data_size": len(data)}}
    head = json.dumps({"inputs": [entry]}).encode()
    headers = {**OCTETS, "Inference-Header-Content-Length": str(len(head))}
    reply = service.client.post("/v2/models/brightness/infer", content=head + data, headers=headers)
    assert reply.json()["outputs"][0]["data"] == [1]


def test_one_bad_image_fails_alone_and_the_message_names_the_reason(service):
    reply = service.client.post("/v1/models/brightness:predict", json={"instances": [b64(b"not an image")]})
    assert reply.status_code == 500
    assert "TensorFlow: " in reply.json()["error"]
    reply = service.client.post("/v1/models/brightness:predict", json={"instances": [b64(picture(255))]})
    assert reply.json() == {"predictions": [1]}


@pytest.mark.parametrize("kind", REFUSED)
def test_an_unsupported_saved_model_is_refused_with_the_reason(service, kind):
    _, name, message = REFUSED[kind]
    state, why = reason(service, name)
    assert state == "UNAVAILABLE"
    assert message.replace("{models}", str(service.models)) in why


def test_a_fifo_is_not_a_version(service):
    assert service.client.get("/v1/models/fifo").status_code == 404


def test_unverified_saved_models_can_be_refused(tmp_path, start):
    write_line(tmp_path / "line" / "1")
    service = start(tmp_path, "--require-verified", wait_ready=False)
    service.wait_for_log("model line version 1 refused", also="--require-verified asks for golden samples")


@pytest.fixture
def without_tensorflow(tmp_path):
    """Environment variables with which Python does not find TensorFlow."""
    place = tmp_path / "without-tensorflow"
    place.mkdir()
    (place / "sitecustomize.py").write_text("import sys\nsys.modules['tensorflow'] = None\n")
    return {"PYTHONPATH": str(place)}


def test_without_tensorflow_one_line_names_the_skipped_parts_and_the_command(tmp_path, start, without_tensorflow):
    models = tmp_path / "models"
    write_line(models / "line" / "1")
    shutil.copytree(models / "line", models / "line2")
    write_tripled(models, "both", slope=2.0)
    shutil.copytree(models / "line" / "1", models / "both" / "1", dirs_exist_ok=True)
    service = start(models, environment=without_tensorflow)
    service.wait_for_log(
        "skipped, because TensorFlow is not installed: line version 1, line2 version 1; to serve SavedModels: "
        "make serve SAVEDMODEL=1"
    )
    assert "refused" not in service.log
    assert reason(service, "both")[0] == "READY"
    assert "make serve SAVEDMODEL=1" in reason(service, "line2")[1]
    reply = service.client.post("/v1/models/line:predict", json={"instances": [[1, 2, 3]]})
    assert reply.status_code == 503


def test_a_saved_model_that_is_copied_while_the_service_runs_is_followed(tmp_path, start):
    models, source = tmp_path / "models", tmp_path / "source"
    write_tripled(models, "graph", slope=1.0)
    write_line(source)
    service = start(models)
    shutil.copytree(source, models / "line" / "1")
    service.wait_for_log("model line version 1 ready", within_s=PATIENCE_S)
    assert service.client.post("/v1/models/line:predict", json={"instances": [[1, 2, 3]]}).status_code == 200


def ask(service, **document):
    reply = service.client.post("/v1/models/several:predict", json=document)
    return reply.json() if reply.is_success else (reply.status_code, reply.json()["error"])


def test_a_request_chooses_a_signature(service):
    assert ask(service, instances=[[1], [2]]) == {"predictions": [[2], [4]]}
    assert ask(service, instances=[[1], [2]], signature_name="") == {"predictions": [[2], [4]]}
    assert ask(service, instances=[[1], [2]], signature_name="serving_default") == {"predictions": [[2], [4]]}
    assert ask(service, instances=["a", "bc"], signature_name="count") == {"predictions": [1, 2]}
    assert ask(service, inputs={"text": ["abc"]}, signature_name="count") == {"outputs": [3]}
    assert ask(service, inputs=[[1, 2], [3, 5]], signature_name="centre") == {"outputs": [[-1, -1.5], [1, 1.5]]}


@pytest.fixture(scope="module")
def tfs(service):
    client = TfsClient(service.grpc_port)
    yield client
    client.close()


def test_a_grpc_request_chooses_a_signature(tfs):
    def predict(signature, inputs, *outputs):
        reply = tfs.Predict(predict_request(inputs, "several", signature=signature, outputs=outputs))
        [found] = reply.outputs.values()
        return reply.model_spec.signature_name, list(found.float_val or found.int_val or found.int64_val)

    values = {"x": np.array([[1], [2]], np.float32)}
    assert predict("", values) == ("serving_default", [2, 4])
    assert predict("serving_default", values) == ("serving_default", [2, 4])
    assert predict("count", {"text": np.array([b"a", b"bc"], object)}) == ("count", [1, 2])


def test_an_unknown_signature_of_a_grpc_request_is_refused(tfs):
    request = predict_request({"x": np.array([[1]], np.float32)}, "several", signature="other")
    assert refusal(tfs.Predict, request) == ("INVALID_ARGUMENT", 'Serving signature key "other" not found.')


def test_grpc_metadata_has_all_signatures(tfs, service):
    request = tfs_pb.GetModelMetadataRequest(model_spec=model_spec("several"), metadata_field=["signature_def"])
    found = tfs_pb.SignatureDefMap.FromString(tfs.GetModelMetadata(request).metadata["signature_def"].value)
    assert sorted(found.signature_def) == ["brain", "centre", "count", "scaled", "serving_default"]
    assert found.signature_def["count"].inputs["text"].dtype == tfs_pb.DT_STRING


def test_an_unknown_signature_is_refused_with_those_that_there_are(service):
    assert ask(service, instances=[[1]], signature_name="other") == (
        400,
        UNKNOWN_SIGNATURE,
    )
    assert ask(service, instances=[[1]], signature_name=1) == (400, NOT_A_NAME)
    code, error = ask(service, instances=["a", [1]], signature_name="count")
    assert code == 400
    assert "instances[1] is" in error


SCALED = {
    "neither": ({}, [[4, 8], [1, 2]]),
    "one": ({"factor": 10}, [[11, 22], [1, 2]]),
    "the other": ({"shift": [0, 1]}, [[3, 7], [0, 1]]),
    "both": ({"factor": 10, "shift": [0, 1]}, [[10, 21], [0, 1]]),
}


@pytest.mark.parametrize("kind", SCALED)
def test_inputs_with_a_default_in_the_signature_may_be_left_out(service, tfs, kind):
    given, want = SCALED[kind]
    inputs = {"x": [[1, 2], [0, 0]], **given}
    assert ask(service, inputs=inputs, signature_name="scaled") == {"outputs": want}
    rows = [{"x": row, **given} for row in inputs["x"]]
    assert ask(service, instances=rows, signature_name="scaled") == {"predictions": want}
    arrays = {name: np.array(values, np.float32) for name, values in inputs.items()}
    found = tfs.predict(arrays, "several", signature="scaled").outputs["y"]
    assert list(found.float_val) == np.ravel(want).tolist()


def test_the_signature_that_config_pbtxt_names_is_the_default_one(service, tfs):
    texts = triton_grpc.InferInput("text", [2], "BYTES")
    texts.set_data_from_numpy(TEXTS)
    assert service.triton.infer("count-texts", [texts]).as_numpy("count").tolist() == [1, 7]
    assert [each["name"] for each in service.client.get("/v2/models/count-texts").json()["inputs"]] == ["text"]
    predict = "/v1/models/count-texts:predict"
    assert service.client.post(predict, json={"instances": ["a", "bc"]}).json() == {"predictions": [1, 2]}
    for signature, sent, answer in (("count", ["abc"], [3]), ("serving_default", [[3]], [[6]])):
        body = {"signature_name": signature, "instances": sent}
        assert service.client.post(predict, json=body).json() == {"predictions": answer}
    reply = tfs.Predict(predict_request({"text": TEXTS}, "count-texts"))
    assert (reply.model_spec.signature_name, list(reply.outputs["count"].int_val)) == ("count", [1, 7])
    signatures = service.client.get("/v1/models/count-texts/metadata").json()["metadata"]["signature_def"]
    assert next(iter(signatures["signature_def"])) == "count"
    assert "serving_default" in signatures["signature_def"]
    service.wait_for_log("model count-texts: config.pbtxt states without effect: parameters.TF_NUM_INTRA_THREADS")
    assert service.client.post("/v1/models/usual:predict", json={"instances": [[3]]}).json() == {"predictions": [[6]]}


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("no-signature", "it has no signature 'nobody'; it has ['brain', 'centre', 'count', "),
        ("other-tag", "TF_GRAPH_TAG is 'train'; the graph with the tag 'serve' is run"),
        ("initialized", "TF_INIT_OPS_FILE is 'init_ops.json'; operations that initialize a graph are not run"),
    ],
)
def test_parameters_of_tritons_tensorflow_backend_that_cannot_be_followed_refuse_the_model(service, name, error):
    state, why = reason(service, name)
    assert (state, error in why) == ("UNAVAILABLE", True), why


def test_metadata_have_the_defaults_of_a_signature(service, tfs):
    signatures = service.client.get("/v1/models/several/metadata").json()["metadata"]["signature_def"]["signature_def"]
    assert signatures["serving_default"]["defaults"] == {}
    defaults = signatures["scaled"]["defaults"]
    assert sorted(defaults) == ["factor", "shift"]
    assert (defaults["factor"]["dtype"], defaults["factor"]["float_val"]) == ("DT_FLOAT", [3.0])
    assert defaults["factor"]["tensor_shape"] == {"dim": [], "unknown_rank": False}
    assert defaults["shift"]["tensor_shape"]["dim"] == [{"size": "2", "name": ""}]
    content = base64.b64decode(defaults["shift"]["tensor_content"])
    assert np.frombuffer(content, np.float32).tolist() == [1, 2]
    request = tfs_pb.GetModelMetadataRequest(model_spec=model_spec("several"), metadata_field=["signature_def"])
    found = tfs_pb.SignatureDefMap.FromString(tfs.GetModelMetadata(request).metadata["signature_def"].value)
    scaled = found.signature_def["scaled"].defaults
    assert (list(scaled["factor"].float_val), scaled["shift"].tensor_content) == ([3.0], content)


def test_bits_of_bfloat16_are_kept(tfs):
    bits = np.arange(2**16, dtype=np.uint16).reshape(256, 256)
    sent = shaped("DT_BFLOAT16", bits.shape, tensor_content=bits.tobytes())
    found = tfs.predict({"x": sent}, "several", signature="brain").outputs["y"]
    assert np.array_equal(np.array(found.half_val, np.uint16).reshape(bits.shape), bits)


TEXTS = np.array([b"a", "Zürich".encode()], object)
NAMED = {"signature_name": "count"}


@pytest.mark.parametrize("is_binary", [True, False])
def test_a_parameter_of_a_v2_request_chooses_a_signature(service, is_binary):
    client = triton_http.InferenceServerClient(service.url.removeprefix("http://"))
    texts = triton_http.InferInput("text", [2], "BYTES")
    texts.set_data_from_numpy(TEXTS, binary_data=is_binary)
    numbers = triton_http.InferInput("x", [1, 1], "FP32")
    numbers.set_data_from_numpy(np.array([[3]], np.float32), binary_data=is_binary)
    for _ in range(2):  # the second ones find their heads in the cache
        assert client.infer("several", [texts], parameters=NAMED).as_numpy("count").tolist() == [1, 7]
        assert client.infer("several", [numbers]).as_numpy("y").tolist() == [[6]]
        default = {"signature_name": "serving_default"}
        assert client.infer("several", [numbers], parameters=default).as_numpy("y").tolist() == [[6]]
    client.close()


def test_a_parameter_of_a_grpc_request_chooses_a_signature(service):
    texts = triton_grpc.InferInput("text", [2], "BYTES")
    texts.set_data_from_numpy(TEXTS)
    assert service.triton.infer("several", [texts], parameters=NAMED).as_numpy("count").tolist() == [1, 7]
    rows = triton_grpc.InferInput("x", [2, 2], "FP32")
    rows.set_data_from_numpy(np.array([[1, 2], [0, 0]], np.float32))
    factor = triton_grpc.InferInput("factor", [], "FP32")
    factor.set_data_from_numpy(np.array(10, np.float32))
    found = service.triton.infer("several", [rows, factor], parameters={"signature_name": "scaled"})
    assert found.as_numpy("y").tolist() == SCALED["one"][1]


def test_a_parameter_of_generate_chooses_a_signature(service):
    body = {"text": "abc", "parameters": NAMED}
    assert service.client.post("/v2/models/several/generate", json=body).json()["count"] == 3


@pytest.mark.parametrize(("name", "error"), [("other", UNKNOWN_SIGNATURE), (1, NOT_A_NAME)])
def test_an_unknown_signature_of_a_v2_request_is_refused(service, name, error):
    document = {
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 1], "data": [3]}],
        "parameters": {"signature_name": name},
    }
    reply = service.client.post("/v2/models/several/infer", json=document)
    assert (reply.status_code, reply.json()["error"]) == (400, error)
    given = triton_grpc.InferInput("x", [1, 1], "FP32")
    given.set_data_from_numpy(np.array([[3]], np.float32))
    refused = grpc_refusal(service.triton.infer, "several", [given], parameters=document["parameters"])
    assert refused == ("INVALID_ARGUMENT", error)


def test_a_model_with_one_signature_names_it(service):
    document = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 3], "data": [1, 2, 3]}], "parameters": NAMED}
    reply = service.client.post("/v2/models/graph/infer", json=document)
    assert reply.json() == {"error": "signature 'count' does not exist; the model has 'serving_default'"}


def test_the_config_describes_the_other_signatures(service):
    config = service.client.get("/v2/models/several/config").json()
    described = json.loads(config["parameters"]["signatures"]["string_value"])
    assert list(described) == ["brain", "centre", "count", "scaled"]
    assert described["count"] == {
        "inputs": [{"name": "text", "datatype": "BYTES", "shape": [-1]}],
        "outputs": [{"name": "count", "datatype": "INT32", "shape": [-1]}],
    }
    config = service.triton.get_model_config("several").config
    assert json.loads(config.parameters["signatures"].string_value) == described
    assert "signatures" not in service.client.get("/v2/models/line/config").json()["parameters"]


def test_a_signature_that_cannot_be_served_is_left_out_with_a_line_in_the_log(service):
    service.wait_for_log(
        "model several: signature rankless is not served: tensor 'x' has an unknown number of dimensions"
    )


def test_classify_and_regress_use_the_default_signature(service):
    reply = service.client.post(
        "/v1/models/several:regress", json={"signature_name": "count", "examples": [{"text": "a"}]}
    )
    assert reply.status_code == 400
    assert reply.json()["error"] == "signature 'count' answers :predict only"


def test_the_metadata_has_all_signatures(service):
    reply = service.client.get("/v1/models/several/metadata").json()
    signatures = reply["metadata"]["signature_def"]["signature_def"]
    assert list(signatures) == ["serving_default", "brain", "centre", "count", "scaled"]
    assert signatures["count"]["inputs"]["text"]["dtype"] == "DT_STRING"


def test_a_model_with_several_signatures_is_unloaded_and_loaded(service):
    assert service.client.post("/v2/repository/models/several/unload").status_code == 200
    assert ask(service, instances=["a"], signature_name="count")[0] == 503
    assert service.client.post("/v2/repository/models/several/load", timeout=PATIENCE_S).status_code == 200
    assert ask(service, instances=["a"], signature_name="count") == {"predictions": [1]}
