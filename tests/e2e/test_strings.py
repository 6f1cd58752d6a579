"""Strings as inputs and outputs, in every form that a protocol has for them."""

import base64

import numpy as np
import pytest
import tritonclient.grpc as triton_grpc
import tritonclient.http as triton_http

from app.contract.strings import MOST_STRINGS, length_prefixed, string_array
from tests.support.bare_models import NAME, write_names_model
from tests.support.grpc_service import GrpcService
from tests.support.model_state import reason
from tests.support.service import running

PREDICT, INFER = f"/v1/models/{NAME}:predict", f"/v2/models/{NAME}/infer"
TEXTS = ["", "a", "Zürich", "日本語", '"\\\n', "a\x00b\x00"]
NOT_UTF8 = b"\xff\xfe"
OCTETS = {"Content-Type": "application/octet-stream"}


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    models = tmp_path_factory.mktemp("strings")
    write_names_model(models)
    write_names_model(models, "pairs", ("rows", 2))
    write_names_model(models, "few")
    (models / "few" / "serving.json").write_text('{"batching": {"max_queue_bytes": 100000}}')
    yield from running(GrpcService(models))


def b64(data):
    return {"b64": base64.b64encode(data).decode()}


def same(reply):
    """The strings of a reply of ``:predict`` by row."""
    assert reply.status_code == 200, reply.text
    return [row["same"] for row in reply.json()["predictions"]]


def test_a_graph_of_strings_shares_batches(service):
    assert reason(service, NAME)[1].endswith("its batches agree with single instances")
    metadata = service.client.get(f"/v2/models/{NAME}").json()
    assert metadata["inputs"] == [{"name": "text", "datatype": "BYTES", "shape": [-1]}]


def test_v1_strings_by_row(service):
    assert same(service.client.post(PREDICT, json={"instances": TEXTS})) == TEXTS
    assert same(service.client.post(PREDICT, json={"instances": [{"text": text} for text in TEXTS]})) == TEXTS
    reply = service.client.post(PREDICT, json={"instances": ["yes", b64(b"yes"), "no"]})
    assert [row["agrees"] for row in reply.json()["predictions"]] == [True, True, False]


@pytest.mark.parametrize("inputs", [TEXTS, {"text": TEXTS}, {"text": [b64(text.encode()) for text in TEXTS]}])
def test_v1_strings_by_column(service, inputs):
    reply = service.client.post(PREDICT, json={"inputs": inputs})
    assert reply.json()["outputs"] == {"same": TEXTS, "agrees": [False] * len(TEXTS)}


def test_v1_nested_strings(service):
    rows = [["a", "yes"], ["yes", "d"]]
    reply = service.client.post("/v1/models/pairs:predict", json={"inputs": rows})
    assert reply.json()["outputs"] == {"same": rows, "agrees": [[False, True], [True, False]]}


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        ("Zürich".encode(), {"Content-Type": "text/plain"}),
        (b"\x89PNG", {"Content-Type": "image/png"}),
        (b"a b", OCTETS),
        (b"plain", {}),
    ],
)
def test_a_body_that_is_not_json_is_one_string(service, body, headers):
    reply = service.client.post(PREDICT, content=body, headers=headers)
    if body.startswith(b"\x89"):
        assert reply.status_code == 400
        assert "the string is not UTF-8" in reply.json()["error"]
    else:
        assert same(reply) == [body.decode()]


def test_each_part_of_a_form_is_one_string(service):
    parts = [("files", ("1.txt", b"first")), ("files", ("2.txt", b"second"))]
    assert same(service.client.post(PREDICT, files=parts)) == ["first", "second"]


@pytest.mark.parametrize("is_binary", [True, False])
@pytest.mark.parametrize("gives_binary", [True, False])
def test_v2_strings_with_tritons_client(service, is_binary, gives_binary):
    client = triton_http.InferenceServerClient(service.url.removeprefix("http://"))
    values = np.array([text.encode() for text in TEXTS], object)
    tensor = triton_http.InferInput("text", values.shape, "BYTES")
    tensor.set_data_from_numpy(values, binary_data=is_binary)
    expected = triton_http.InferRequestedOutput("same", binary_data=gives_binary)
    found = client.infer(NAME, [tensor], outputs=[expected]).as_numpy("same")
    assert [each if isinstance(each, bytes) else each.encode() for each in found] == values.tolist()
    client.close()


def test_grpc_strings_with_tritons_client(service):
    values = np.array([text.encode() for text in TEXTS], object)
    tensor = triton_grpc.InferInput("text", values.shape, "BYTES")
    tensor.set_data_from_numpy(values)
    assert service.triton.infer(NAME, [tensor]).as_numpy("same").tolist() == values.tolist()


def test_v2_json_takes_base64(service):
    entry = {"name": "text", "datatype": "BYTES", "shape": [2], "data": [b64(b"yes"), "no"]}
    assert service.client.post(INFER, json={"inputs": [entry]}).json()["outputs"][0]["data"] == ["yes", "no"]


def test_a_raw_binary_request_is_one_string(service):
    headers = {**OCTETS, "Inference-Header-Content-Length": "0"}
    reply = service.client.post(INFER, content=b"yes", headers=headers)
    assert reply.status_code == 200
    assert reply.content.endswith(length_prefixed([b"yes"]) + b"\x01")
    refused = service.client.post("/v2/models/pairs/infer", content=b"yes", headers=headers)
    assert "a raw binary request is one string" in refused.json()["error"]


@pytest.mark.parametrize(
    ("document", "error"),
    [
        ({"instances": ["a", 1]}, "instances[1] is a number; send a string"),
        ({"instances": [1, 2]}, "'text' holds numbers; expected one string"),
        ({"instances": ["a", {"b64": "?"}]}, "instances[1]: 'b64' is not valid base64"),
        ({"instances": [["a"], ["b", "c"]]}, "instances[1] has 2 values, instances[0] has 1"),
        ({"instances": [["a", "b"]]}, "an instance of 'text' has shape (2,); expected one string"),
        ({"instances": ["a", None]}, "instances[1] is null; send a string"),
        ({"instances": ["a", b64(NOT_UTF8)]}, "instance 1 of 'text': the string is not UTF-8: invalid start byte at 0"),
        ({"inputs": {"text": []}}, "'text' holds no instance"),
    ],
)
def test_v1_bad_strings(service, document, error):
    reply = service.client.post(PREDICT, json=document)
    assert reply.status_code == 400
    assert error.replace("byte at 0", "byte at byte 0") in reply.json()["error"]


def test_half_of_a_surrogate_pair_is_refused(service):
    for path, body in (
        (PREDICT, b'{"instances": ["\\ud800"]}'),
        (INFER, b'{"inputs": [{"name": "text", "datatype": "BYTES", "shape": [1], "data": ["\\ud800"]}]}'),
    ):
        reply = service.client.post(path, content=body, headers={"Content-Type": "application/json"})
        assert reply.status_code == 400, reply.text


@pytest.mark.parametrize(
    ("entry", "error"),
    [
        ({"shape": [2], "data": ["a"]}, "input 'text' has 1 element; its shape [2] requires 2"),
        ({"shape": [1], "data": [1]}, "'data' of input 'text': element 0 is a number; send a string"),
        ({"shape": [1, 1], "data": ["a"]}, "Expected [-1], got [1,1]"),
        ({"datatype": "FP32", "shape": [1], "data": [1.0]}, "data-type is 'FP32', but model 'names' expects 'BYTES'"),
        ({"shape": [0], "data": []}, "'text' holds no instance"),
    ],
)
def test_v2_bad_strings(service, entry, error):
    reply = service.client.post(INFER, json={"inputs": [{"name": "text", "datatype": "BYTES", **entry}]})
    assert reply.status_code == 400
    assert error in reply.json()["error"]


def test_bytes_that_are_not_a_list_of_strings(service):
    head = b'{"inputs": [{"name": "text", "datatype": "BYTES", "shape": [1], "parameters": {"binary_data_size": 7}}]}'
    headers = {**OCTETS, "Inference-Header-Content-Length": str(len(head))}
    for tail, error in (
        (b"\x09\0\0\0abc", "element 0 states the length 9, but 3 bytes follow"),
        (b"\x01\0\0\0a\0\0", "element 1 ends within its length"),
        (b"\x03\0\0\0" + NOT_UTF8 + b"a", "the string is not UTF-8"),
    ):
        reply = service.client.post(INFER, content=head + tail, headers=headers)
        assert reply.status_code == 400
        assert error in reply.json()["error"]


def test_strings_are_not_classified(service):
    entry = {"name": "text", "datatype": "BYTES", "shape": [1], "data": ["a"]}
    outputs = [{"name": "same", "parameters": {"classification": 1}}]
    reply = service.client.post(INFER, json={"inputs": [entry], "outputs": outputs})
    assert reply.json() == {"error": "output 'same' holds strings, which are not classified"}


def test_more_strings_than_a_tensor_may_have(service):
    count = MOST_STRINGS + 1
    reply = service.client.post(PREDICT, json={"inputs": ["" for _ in range(count)]})
    assert reply.status_code == 413
    tensor = triton_grpc.InferInput("text", [count], "BYTES")
    tensor.set_data_from_numpy(np.full(count, b"", object))
    with pytest.raises(triton_grpc.InferenceServerException, match="more than 262144 strings"):
        service.triton.infer(NAME, [tensor])


def test_long_strings_count_as_the_bytes_they_have(service):
    """The nbytes of an object array counts eight bytes an element."""
    reply = service.client.post("/v1/models/few:predict", json={"instances": ["x" * 200_000]})
    assert reply.status_code == 413
    assert "request holds 1 instances (2000" in reply.json()["error"]
    assert same(service.client.post("/v1/models/few:predict", json={"instances": ["x" * 50_000]})) == ["x" * 50_000]


def test_string_arrays_keep_their_elements_whole():
    assert string_array([b"ab", b"cd"], (2,)).tolist() == [b"ab", b"cd"]
