"""Requests that the routes of the Open Inference Protocol refuse, and the error messages."""

import gzip
import json
import struct

import numpy as np
import pytest

from tests.support.http_requests import refused
from tests.support.tiny_models import SIDE

INFER = "/v2/models/brightness/infer"
FORM = "each element starts with its length, 4 bytes, little-endian"
HOW = 'send {"inputs": [{"name": ..., "datatype": ..., "shape": [...], "data": [...]}]}'
ROW = np.arange(SIDE * SIDE, dtype=np.uint8)
GOOD = {"name": "pixels", "datatype": "UINT8", "shape": [1, SIDE, SIDE], "data": ROW.tolist()}


def infer(client, document, *, model="brightness", code=400, tail=b"", **headers):
    """The error of an infer request of JSON, with bytes after it when ``tail`` is given."""
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    if tail:
        headers.setdefault("inference-header-content-length", str(len(body)))
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return refused(client, f"/v2/models/{model}/infer", content=body + tail, headers=named, code=code)


def with_input(**changes):
    entry = {**GOOD, **changes}
    return {"inputs": [{key: value for key, value in entry.items() if value is not None}]}


def binary(size, **changes):
    return with_input(data=None, parameters={"binary_data_size": size}, **changes)


@pytest.mark.parametrize(
    ("document", "error"),
    [
        (with_input(name="picture"), "unexpected inference input 'picture' for model 'brightness'; it has 'pixels'"),
        (
            with_input(datatype="FP32"),
            "inference input 'pixels' data-type is 'FP32', but model 'brightness' expects 'UINT8'",
        ),
        (
            with_input(shape=[1, 3, 4]),
            "unexpected shape for input 'pixels' for model 'brightness'. Expected [-1,4,4], got [1,3,4]",
        ),
        (
            with_input(shape=[16]),
            "unexpected shape for input 'pixels' for model 'brightness'. Expected [-1,4,4], got [16]",
        ),
        (
            with_input(data=[1, 2, 3]),
            "'data' of input 'pixels' holds 3 values, nested as [3]; "
            "shape [1, 4, 4] requires 16, flat or nested in that shape",
        ),
        (
            with_input(data=[[1] * 8, [2] * 8]),
            "'data' of input 'pixels' holds 16 values, nested as [2, 8]; "
            "shape [1, 4, 4] requires 16, flat or nested in that shape",
        ),
        (
            with_input(data=[*range(14), [14, 15]]),
            "'data' of input 'pixels'[14] is an array; expected a number",
        ),
        (
            with_input(data=["a"] * 16),
            "'data' of input 'pixels' does not hold numbers only; expected 16 numbers, flat or nested",
        ),
        (
            with_input(data=7),
            "'data' of input 'pixels' does not hold numbers only; expected 16 numbers, flat or nested",
        ),
        (with_input(data=[300] * 16), "instance 0 of 'pixels': value 300 at [0, 0] is outside 0 to 255"),
        (
            with_input(data=[0.5] * 16),
            "instance 0 of 'pixels': value 0.5 at [0, 0] is not a whole number; "
            "send 0-255, scaling is inside the model",
        ),
        (with_input(shape=[0, 4, 4], data=[]), "'pixels' holds no instance; send at least one"),
        (with_input(shape=[-1, 4, 4]), "input 'pixels' has shape [-1, 4, 4]; send a list of whole numbers from 0"),
        (with_input(shape=[2**62, 4, 4]), None),
        (with_input(shape="4"), "input 'pixels' has shape '4'; send a list of whole numbers from 0"),
        (with_input(data=None), "input 'pixels' has neither 'data' nor the parameter 'binary_data_size'"),
        (with_input(name=None), "inputs[0] has no 'name'; send a string"),
        (with_input(parameters=3), "'parameters' of input 'pixels' is a number; send an object {key: value}"),
        ({"inputs": []}, "expected 1 inputs but got 0 inputs for model 'brightness'; it has 'pixels'"),
        ({"inputs": [GOOD, GOOD]}, "expected 1 inputs but got 2 inputs for model 'brightness'; it has 'pixels'"),
        ({"inputs": [7]}, "inputs[0] is a number; send an object with name, shape, datatype and data"),
        ({"inputs": GOOD}, "Unable to parse 'inputs': it is an object; send a list of tensors"),
        ({"input": []}, f"missing 'inputs'; the document has 'input'; {HOW}"),
        ({}, f"missing 'inputs'; the document has no key; {HOW}"),
        ({"inputs": [GOOD], "id": 7}, "'id' is a number; send a string"),
        ({"inputs": [GOOD], "outputs": 3}, "Unable to parse 'outputs': it is a number; send a list of objects"),
        ({"inputs": [GOOD], "outputs": [{}]}, "outputs[0] has no 'name'; send an object {\"name\": string}"),
        (
            {"inputs": [GOOD], "outputs": [{"name": "nope"}]},
            "unexpected inference output 'nope' for model 'brightness'; it has 'probabilities'",
        ),
        (
            {"inputs": [GOOD], "outputs": [{"name": "probabilities"}] * 2},
            "output 'probabilities' is requested twice",
        ),
        (
            {"inputs": [GOOD], "outputs": [{"name": "probabilities", "parameters": {"classification": -1}}]},
            "'classification' of output 'probabilities' is -1; send a whole number of classes",
        ),
        (
            {"inputs": [GOOD], "parameters": {"binary_data_output": "yes"}},
            "parameter 'binary_data_output' is 'yes'; send true or false",
        ),
        (
            {"inputs": [GOOD], "parameters": {"priority": -1}},
            "parameter 'priority' is -1; send a level from 1 (highest) to priority_levels of the model, "
            "or 0 for the model's default",
        ),
        (
            {"inputs": [GOOD], "parameters": {"timeout": 1.5}},
            "parameter 'timeout' is 1.5; send whole microseconds, or 0 for the model's default",
        ),
        (
            {"inputs": [GOOD], "parameters": {"triton_x": 1}},
            "parameter 'triton_x' is reserved: names must not begin with 'triton_'",
        ),
    ],
)
def test_a_value_that_breaks_a_rule_is_named(tiny, document, error):
    found = infer(tiny, document)
    assert error is None or found == error


def test_an_unknown_datatype_lists_the_known_ones(tiny):
    assert infer(tiny, with_input(datatype="FLOAT")).startswith(
        "input 'pixels' has the unknown datatype 'FLOAT'; use BOOL, UINT8,"
    )


def test_bytes_for_a_model_of_numbers_are_a_wrong_type(tiny):
    entry = {"name": "index", "datatype": "BYTES", "shape": [1], "data": ["a"]}
    error = infer(tiny, {"inputs": [entry]}, model="fragile")
    assert error == "inference input 'index' data-type is 'BYTES', but model 'fragile' expects 'INT32'"


@pytest.mark.parametrize(
    ("shape", "data", "error"),
    [
        ([2], ["a"], "input 'token_ids' has 1 element; its shape [2] requires 2"),
        (
            [1, 2],
            ["a", "b"],
            "unexpected shape for input 'token_ids' for model 'words'. Expected [-1] or [-1,1], got [1,2]",
        ),
        ([1], [7], "'data' of input 'token_ids': element 0 is a number; send a string, or {\"b64\": ...}"),
        ([0], [], "input 'token_ids' holds no instance; send at least one"),
        ([2], ["good", " "], "input 'token_ids', element 1: text is empty; send at least one word"),
    ],
)
def test_texts_that_break_a_rule(tiny, shape, data, error):
    entry = {"name": "token_ids", "datatype": "BYTES", "shape": shape, "data": data}
    assert infer(tiny, {"inputs": [entry]}, model="words") == error


@pytest.mark.parametrize(
    ("raw", "error"),
    [
        (
            struct.pack("<I", 9) + b"good",
            "input 'token_ids': element 0 states the length 9, but 4 bytes follow; " + FORM,
        ),
        (struct.pack("<I", 4) + b"good\1", "input 'token_ids': element 1 ends within its length; " + FORM),
        (struct.pack("<I", 2) + b"\xff\xfe", None),
    ],
)
def test_bytes_that_are_cut_short_or_no_text(tiny, raw, error):
    entry = {"name": "token_ids", "datatype": "BYTES", "shape": [1], "parameters": {"binary_data_size": len(raw)}}
    found = infer(tiny, {"inputs": [entry]}, model="words", tail=raw)
    assert found == error or (error is None and "not UTF-8 text" in found)


@pytest.mark.parametrize(
    ("length", "error"),
    [
        ("-1", "inference header size should be in range (0, 12), got: -1"),
        ("13", "inference header size should be in range (0, 12), got: 13"),
        ("x", "Unable to parse Inference-Header-Content-Length, got: x"),
        ("99999999999999999999", "inference header size should be in range (0, 12), got: 99999999999999999999"),
    ],
)
def test_a_wrong_length_of_the_json_part(tiny, length, error):
    assert infer(tiny, b'{"inputs":1}', inference_header_content_length=length) == error


def test_a_body_shorter_than_its_tensors(tiny):
    error = infer(tiny, binary(16), tail=bytes(10))
    assert error == "unexpected size for input 'pixels', expecting 6 additional bytes for model 'brightness'"


def test_a_body_longer_than_its_tensors(tiny):
    error = infer(tiny, binary(16), tail=bytes(20))
    assert error == "unexpected additional input data for model 'brightness': 4 bytes beyond the declared tensors"


def test_a_binary_size_that_does_not_fit_the_shape(tiny):
    error = infer(tiny, binary(20), tail=bytes(20))
    assert error == "'binary_data_size' of input 'pixels' is 20; UINT8 of shape [1, 4, 4] has 16 bytes"


@pytest.mark.parametrize("size", [-1, 1.5, "16", True])
def test_a_binary_size_that_is_not_a_size(tiny, size):
    error = infer(tiny, binary(size), tail=bytes(16))
    assert error == f"'binary_data_size' of input 'pixels' is {size!r}; send a whole number of bytes"


def test_binary_and_json_data_in_one_request(tiny):
    error = infer(tiny, with_input(parameters={"binary_data_size": 16}), tail=bytes(16))
    assert error == "input 'pixels' has both 'data' and the parameter 'binary_data_size'; send one of them"


def test_binary_tensors_without_the_header_that_announces_them(tiny):
    error = infer(tiny, binary(16))
    assert error == "binary tensors follow the JSON; send its length in the header Inference-Header-Content-Length"


@pytest.mark.parametrize("path", [INFER, "/v2/models/words/generate"])
def test_bytes_after_the_document_are_refused(tiny, path):
    body = json.dumps({"inputs": [GOOD], "text_input": "x"}).encode()
    error = refused(tiny, path, content=body + b" garbage")
    assert error == f"JSON Parse error: unexpected content after the document at offset: {len(body)}"


@pytest.mark.parametrize(
    ("model", "size", "error"),
    [
        ("brightness", 15, "body of 15 bytes; one instance is uint8 of shape (4, 4), 16 bytes"),
        ("words", 6, "body of 6 bytes; one instance is a list of int32, 4 bytes a step"),
    ],
)
def test_raw_bytes_of_the_wrong_size(tiny, model, size, error):
    found = refused(
        tiny, f"/v2/models/{model}/infer", content=bytes(size), headers={"inference-header-content-length": "0"}
    )
    assert found.endswith(error)


@pytest.mark.parametrize("body", [b"{", b"[1]", b"7", b"\xff", b"[" * 100_000])
def test_a_body_that_is_not_a_json_object(tiny, body):
    assert infer(tiny, body)
    assert refused(tiny, INFER, content=body, headers={"inference-header-content-length": str(len(body))})


def test_an_empty_body(tiny):
    assert infer(tiny, b"") == f"body is empty; {HOW}"


def test_an_unknown_content_encoding_is_not_implemented(tiny):
    error = infer(tiny, b"x", content_encoding="br", code=501)
    assert error == "Content-Encoding 'br' is not supported; send gzip, deflate or none"


def test_a_bomb_is_stopped_while_it_inflates(tiny):
    error = infer(tiny, gzip.compress(bytes(64 * 2**20)), content_encoding="gzip", code=413)
    assert error == "body inflates to more than 16777216 bytes; at most 16777216 are accepted"


def test_an_unknown_model_and_version(tiny):
    error = "Request for unknown model: 'nope' is not found; models: brightness, fragile, words"
    assert refused(tiny, "/v2/models/nope/infer", code=404, json={}) == error
    assert tiny.get("/v2/models/nope").json() == {"error": error}
    for path in ("", "/config", "/ready", "/stats"):
        assert tiny.get(f"/v2/models/brightness/versions/7{path}").status_code == 404
        assert tiny.get(f"/v2/models/brightness/versions/01{path}").status_code == 400


@pytest.mark.parametrize(("verb", "path"), [("GET", INFER), ("POST", "/v2/models/brightness"), ("PUT", "/v2")])
def test_a_wrong_verb_is_refused_with_the_right_one(tiny, verb, path):
    reply = tiny.request(verb, path)
    assert reply.status_code == 405
    assert reply.json()["error"].startswith("Method Not Allowed; use ")


def test_an_unknown_path_is_not_found(tiny):
    reply = tiny.post("/v2/models/brightness/guess")
    assert (reply.status_code, reply.json()) == (
        404,
        {"error": f"{reply.request.method} {reply.request.url.path} is not a route; GET /docs lists all routes"},
    )


def test_a_failing_row_fails_its_own_request_only(tiny):
    def ask(index):
        entry = {"name": "index", "datatype": "INT32", "shape": [1], "data": [index]}
        return tiny.post("/v2/models/fragile/infer", json={"inputs": [entry]})

    assert ask(99).status_code == 500
    assert ask(3).json()["outputs"][0]["data"] == [9.0]
