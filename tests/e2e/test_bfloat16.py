"""Tensors of bfloat16 over every protocol, bit for bit; JSON of the V1 protocol has their numbers."""

import json

import ml_dtypes
import numpy as np
import pytest
import tritonclient.grpc as triton_grpc
import tritonclient.http as triton_http
from onnx import TensorProto, helper

from app.contract.bfloat16 import widened
from app.edge.grpc.tfs import serving_pb2 as pb
from tests.support.bare_models import write_graph
from tests.support.commands import run
from tests.support.grpc_requests import refusal, request
from tests.support.grpc_service import GrpcService
from tests.support.model_state import reason
from tests.support.service import running
from tests.support.shared_memory import shared
from tests.support.tfs import TfsClient, shaped

COLUMNS = 1024
# Every bit pattern there is: NaN of all kinds, infinities, numbers that are not normal.
BITS = np.arange(2**16, dtype=np.uint16).reshape(-1, COLUMNS)
JSON_REFUSED = "output 'y' has datatype BF16, which JSON cannot hold; request it as binary data"
CANNOT_HOLD = "input 'x' has datatype BF16, which {} cannot hold; send "


def write_brain(models, name="brain", columns=COLUMNS):
    """The same numbers as bfloat16, and as float32."""
    write_graph(
        models,
        name,
        [helper.make_node("Identity", ["x"], ["y"]), helper.make_node("Cast", ["x"], ["wide"], to=TensorProto.FLOAT)],
        [("x", TensorProto.BFLOAT16, ["rows", columns])],
        [("y", TensorProto.BFLOAT16, ["rows", columns]), ("wide", TensorProto.FLOAT, ["rows", columns])],
    )


def write_halves(models):
    """Scores in bfloat16 of numbers in float32; labels are in config.pbtxt."""
    write_graph(
        models,
        "halves",
        [helper.make_node("Mul", ["x", "half"], ["product"]), helper.make_node("Cast", ["product"], ["y"], to=16)],
        [("x", TensorProto.FLOAT, ["rows", 3])],
        [("y", TensorProto.BFLOAT16, ["rows", 3])],
        {"half": np.float32(0.5)},
    )


def write_scalar(models):
    """One number without dimensions, as it is and as float32."""
    write_graph(
        models,
        "scalar",
        [helper.make_node("Cast", ["x"], ["wide"], to=TensorProto.FLOAT), helper.make_node("Identity", ["x"], ["y"])],
        [("x", TensorProto.BFLOAT16, [])],
        [("y", TensorProto.BFLOAT16, []), ("wide", TensorProto.FLOAT, [])],
    )


def write_mixed(models, name, output):
    """Strings and bfloat16 go in; one of them comes out."""
    nodes = [helper.make_node("Identity", [output], ["y"])]
    types = {"text": TensorProto.STRING, "x": TensorProto.BFLOAT16}
    if output == "text":  # ONNX Runtime ignores an input without a use
        nodes.append(helper.make_node("Cast", ["x"], ["wide"], to=TensorProto.FLOAT))
    wide = [("wide", TensorProto.FLOAT, ["rows"])] if output == "text" else []
    write_graph(
        models,
        name,
        nodes,
        [(each, types[each], ["rows"]) for each in types],
        [("y", types[output], ["rows"]), *wide],
    )


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    models = tmp_path_factory.mktemp("brain")
    write_brain(models)
    write_brain(models, "pair", columns=2)
    write_halves(models)
    write_scalar(models)
    write_mixed(models, "texts", "text")
    write_mixed(models, "refused", "x")
    yield from running(GrpcService(models))


def test_a_number_without_dimensions_is_a_tensor(service):
    expected = {"y": 1.5, "wide": 1.5}
    assert service.client.post("/v1/models/scalar:predict", json={"inputs": 1.5}).json()["outputs"] == expected
    message = request("x", "BF16", (), model="scalar", raw=[b"\xc0\x3f"])
    assert list(service.stub.ModelInfer(message).raw_output_contents) == [b"\xc0\x3f", np.float32(1.5).tobytes()]


def bits_of(raw, shape=BITS.shape):
    return np.frombuffer(raw, "<u2").reshape(shape)


def binary(service, model, data, shape, **parameters):
    entry = {"name": "x", "datatype": "BF16", "shape": list(shape), "parameters": {"binary_data_size": len(data)}}
    head = json.dumps({"inputs": [entry], **parameters}).encode()
    headers = {"Inference-Header-Content-Length": str(len(head))}
    return service.client.post(f"/v2/models/{model}/infer", content=head + data, headers=headers)


def test_every_bit_pattern_over_v2(service):
    everything = {"parameters": {"binary_data_output": True}}
    for _ in range(2):  # the second one finds its head in the cache
        reply = binary(service, "brain", BITS.tobytes(), BITS.shape, **everything)
        length = int(reply.headers["inference-header-content-length"])
        first, second = json.loads(reply.content[:length])["outputs"]
        assert (first["datatype"], first["shape"], first["parameters"]) == (
            "BF16",
            list(BITS.shape),
            {"binary_data_size": 2 * BITS.size},
        )
        assert np.array_equal(bits_of(reply.content[length : length + 2 * BITS.size]), BITS)
        assert second["datatype"] == "FP32"
        wide = np.frombuffer(reply.content[length + 2 * BITS.size :], np.float32).reshape(BITS.shape)
        assert np.array_equal(wide, widened(BITS), equal_nan=True)


def test_every_bit_pattern_over_grpc(service):
    reply = service.stub.ModelInfer(request("x", "BF16", BITS.shape, model="brain", raw=[BITS.tobytes()]))
    assert [output.datatype for output in reply.outputs] == ["BF16", "FP32"]
    assert np.array_equal(bits_of(reply.raw_output_contents[0]), BITS)


def test_every_bit_pattern_over_tensorflow_servings_grpc(service):
    client = TfsClient(service.grpc_port)
    proto = shaped("DT_BFLOAT16", BITS.shape, tensor_content=BITS.tobytes())
    found = client.predict({"x": proto}, "brain").outputs["y"]
    assert found.dtype == pb.DT_BFLOAT16
    assert np.array_equal(np.array(found.half_val, np.uint16).reshape(BITS.shape), BITS)
    client.close()


def test_the_body_is_one_instance(service):
    headers = {"Inference-Header-Content-Length": "0"}
    reply = service.client.post("/v2/models/brain/infer", content=BITS[63].tobytes(), headers=headers)
    length = int(reply.headers["inference-header-content-length"])
    assert np.array_equal(bits_of(reply.content[length : length + 2 * COLUMNS], COLUMNS), BITS[63])
    raw = {"Content-Type": "application/octet-stream"}
    reply = service.client.post("/v1/models/pair:predict", content=BITS[63, :4].tobytes(), headers=raw)
    found = np.array([row["y"] for row in reply.json()["predictions"]], np.float32)
    assert found.ravel().tolist() == widened(BITS[63, :4]).tolist()


@pytest.mark.parametrize("api", [triton_http, triton_grpc], ids=["http", "grpc"])
def test_tritons_client(service, api):
    client = service.triton
    if api is triton_http:
        client = triton_http.InferenceServerClient(service.url.removeprefix("http://"))
    values = widened(np.array([[0x3F80, 0xC2F7], [0x0001, 0x7F80]], np.uint16))
    given = api.InferInput("x", [2, 2], "BF16")
    given.set_data_from_numpy(values.astype(ml_dtypes.bfloat16))
    assert client.infer("pair", [given]).as_numpy("y").astype(np.float32).tolist() == values.tolist()
    if api is triton_http:
        client.close()


def test_json_has_no_bfloat16(service):
    reply = binary(service, "pair", bytes(4), [1, 2])
    assert (reply.status_code, reply.json()["error"]) == (400, JSON_REFUSED)
    data = {"inputs": [{"name": "x", "datatype": "BF16", "shape": [1, 2], "data": [1, 2]}]}
    reply = service.client.post("/v2/models/pair/infer", json=data)
    assert (reply.status_code, reply.json()["error"]) == (400, CANNOT_HOLD.format("JSON") + "it as binary data")
    reply = binary(service, "pair", bytes(4), [1, 2], outputs=[{"name": "wide"}])  # the other output
    assert reply.json()["outputs"][0]["data"] == [0, 0]
    assert refusal(service.stub.ModelInfer, request("x", "BF16", (1, 2), model="pair", fp32_contents=[1, 2])) == (
        "INVALID_ARGUMENT",
        CANNOT_HOLD.format("contents") + "raw_input_contents",
    )


def test_classification_has_the_scores_of_bfloat16(service):
    entry = {"name": "x", "datatype": "FP32", "shape": [1, 3], "data": [1, 5, 3]}
    document = {"inputs": [entry], "outputs": [{"name": "y", "parameters": {"classification": 2}}]}
    reply = service.client.post("/v2/models/halves/infer", json=document)
    assert reply.json()["outputs"][0]["data"] == ["2.500000:1", "1.500000:2"]


def test_v1_has_numbers(service):
    ask = {"instances": [[1, -2.5], [0.1, 3.3e38]]}
    found = service.client.post("/v1/models/pair:predict", json=ask).json()["predictions"]
    # Numbers are rounded to the nearest bfloat16, as they are to a float32.
    near = widened(np.array([[0x3F80, 0xC020], [0x3DCD, 0x7F78]], np.uint16)).astype(np.float64)
    assert [row["wide"] for row in found] == [row["y"] for row in found]
    assert np.array_equal(np.float32([row["y"] for row in found]), near.astype(np.float32))


@pytest.mark.parametrize(
    ("value", "error"),
    [(3.4e38, "is outside -3.38953e+38 to 3.38953e+38"), ("a", "")],
)
def test_what_does_not_fit_is_refused(service, value, error):
    reply = service.client.post("/v1/models/pair:predict", json={"instances": [[0, value]]})
    assert reply.status_code == 400
    assert reply.json()["error"].endswith(error)


@pytest.mark.parametrize(("datatype", "raw"), [("FP32", bytes(8)), ("FP16", bytes(4))])
def test_a_datatype_with_values_that_do_not_all_fit_is_refused(service, datatype, raw):
    assert refusal(service.stub.ModelInfer, request("x", datatype, (1, 2), model="pair", raw=[raw])) == (
        "INVALID_ARGUMENT",
        f"inference input 'x' data-type is '{datatype}', but model 'pair' expects 'BF16'",
    )


def test_bfloat16_is_accepted_for_float32(service):
    message = request("x", "BF16", (1, 3), model="halves", raw=[np.array([0x3F80, 0x4000, 0], np.uint16).tobytes()])
    assert bits_of(service.stub.ModelInfer(message).raw_output_contents[0], 3).tolist() == [0x3F00, 0x3F80, 0]


def test_metadata_name_the_type(service):
    metadata = service.client.get("/v2/models/pair").json()
    assert [each["datatype"] for each in (*metadata["inputs"], *metadata["outputs"])] == ["BF16", "BF16", "FP32"]
    config = service.triton.get_model_config("pair", as_json=True)["config"]
    assert config["input"][0]["data_type"] == "TYPE_BF16"
    assert reason(service, "halves")[1].endswith("its batches agree with single instances")


def test_strings_next_to_bfloat16(service):
    texts = {"inputs": {"text": ["a", "b"], "x": [1, 2.5]}}
    reply = service.client.post("/v1/models/texts:predict", json=texts)
    assert reply.json() == {"outputs": {"y": ["a", "b"], "wide": [1, 2.5]}}
    assert reason(service, "refused") == (
        "UNAVAILABLE",
        "output 'y' is a bfloat16, and input 'text' holds strings; ONNX Runtime's Python interface does not run such a "
        "graph: append a Cast to float to the output",
    )


def test_shared_memory(service):
    data = BITS[:2].tobytes()
    with shared(2 * len(data)) as memory:
        memory.buf[: len(data)] = data
        service.triton.register_system_shared_memory("brain", f"/{memory.name}", 2 * len(data))
        given = triton_grpc.InferInput("x", [2, COLUMNS], "BF16")
        given.set_shared_memory("brain", len(data))
        wanted = triton_grpc.InferRequestedOutput("y")
        wanted.set_shared_memory("brain", len(data), offset=len(data))
        service.triton.infer("brain", [given], outputs=[wanted])
        assert bytes(memory.buf[len(data) : 2 * len(data)]) == data
        service.triton.unregister_system_shared_memory("brain")


def test_verify_and_score(service, tmp_path):
    place = ("--models-dir", service.models)
    done = run("verify", "halves", *place, ATELIER_STATE_DIR=str(tmp_path))
    assert "its answers to 8 inputs are recorded" in done.stdout, done.stderr
    done = run("verify", "halves", *place, ATELIER_STATE_DIR=str(tmp_path))
    assert "8 samples agree, largest difference 0" in done.stdout, done.stderr
    np.savez(tmp_path / "rows.npz", x=np.array([[1, 5, 3]], np.float32))
    done = run("score", "halves", tmp_path / "rows.npz", "--output", tmp_path / "out.jsonl", *place)
    assert json.loads((tmp_path / "out.jsonl").read_text())["y"] == [0.5, 2.5, 1.5], done.stderr
