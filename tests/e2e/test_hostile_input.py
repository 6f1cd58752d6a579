"""Input that was answered with 500 in the past: each is refused with 400 and a reason, and does not affect others."""

import base64
import json
import socket

import pytest

from tests.support.http_requests import refused
from tests.support.images import damaged_tiff
from tests.support.service import Service, running
from tests.support.tiny_models import (
    write_brightness_model,
    write_rule_model,
    write_verse_model,
    write_words_model,
)

LONE = "JSON Parse error: a string holds \\ud800 alone, which is half of a character; send both halves"
TOO_DEEP = "JSON Parse error: arrays or objects are nested too deep; at most 64 levels are read"
NUL = "JSON Parse error: a key holds the character \\u0000; leave it out"
X = '{"name": "x", "datatype": "FP32", "shape": [1, 1], "data": [3]}'


def infer(entry=X, *, also=""):
    """The text of an infer request with one input, and members before it."""
    return f'{{{also}"inputs": [{entry}]}}'


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    models = tmp_path_factory.mktemp("hostile")
    write_brightness_model(models)
    write_words_model(models)
    write_verse_model(models)
    write_rule_model(models, finite=False)
    yield from running(Service(models))


@pytest.fixture
def client(service):
    return service.client


def raw(client, *lines, body=b""):
    """The head and the body of the answer to the raw bytes of a request."""
    with socket.create_connection((client.base_url.host, client.base_url.port), timeout=10) as connection:
        head = b"\r\n".join([*lines, b"Connection: close", b"Content-Length: %d" % len(body), b"", b""])
        connection.sendall(head + body)
        answer = b""
        while part := connection.recv(65_536):
            answer += part
    head, _, body = answer.partition(b"\r\n\r\n")
    return head, body


@pytest.mark.parametrize("shape", ["[0, 9223372036854775808]", "[0, 9223372036854775807]", "[1099511627777, 1]"])
def test_a_v2_shape_that_no_array_can_have_is_refused(client, shape):
    document = infer(X.replace("[1, 1]", shape))
    assert refused(client, "/v2/models/rule/infer", content=document) == (
        f"input 'x' has shape {shape}; at most 1099511627776 elements are accepted"
    )


def test_a_v2_shape_of_many_dimensions_is_refused_without_being_repeated(client):
    document = infer(X.replace("[1, 1]", json.dumps([2] * 100_000)))
    error = refused(client, "/v2/models/rule/infer", content=document)
    assert error == "input 'x' has a shape of 100000 dimensions; at most 64 are accepted"


@pytest.mark.parametrize(
    ("path", "document"),
    [
        ("/v1/models/words:predict", '{"instances": ["\\ud800"]}'),
        ("/v1/models/words:classify", '{"examples": [{"text": "a \\ud800"}]}'),
        ("/v1/models/words:predict", '{"instances": ["a"], "signature_name": "\\ud800"}'),
        ("/v2/models/rule/infer", infer(also='"id": "\\ud800", ')),
        ("/v2/models/verse/generate", '{"text_input": "\\ud800"}'),
        ("/v2/models/verse/generate", '{"text_input": "the", "stop": "\\ud800"}'),
        ("/v2/models/verse/generate_stream", '{"text_input": "the", "\\ud800": 1}'),
        ("/v2/repository/models/rule/promote", '{"version": "\\ud800"}'),
    ],
)
def test_a_lone_surrogate_is_refused_with_400(client, path, document):
    assert refused(client, path, content=document) == LONE


def test_a_lone_surrogate_in_a_v2_id_before_binary_tensors_is_refused_with_400(client):
    head = '{"id": "\\ud800", "inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 1], ' + (
        '"parameters": {"binary_data_size": 4}}]}'
    )
    length = {"inference-header-content-length": str(len(head))}
    assert refused(client, "/v2/models/rule/infer", content=head.encode() + bytes(4), headers=length) == LONE


def test_both_halves_of_a_character_are_read(client):
    reply = client.post("/v2/models/rule/infer", content=infer(also='"id": "\\ud83d\\ude00", '))
    assert reply.json()["id"] == "😀"


@pytest.mark.parametrize(
    ("path", "document"),
    [
        ("/v1/models/words:predict", '{"instances\\u0000": 1}'),
        ("/v1/models/words:predict", '{"instances": [{"text\\u0000": "a"}]}'),
        ("/v2/models/rule/infer", infer(X.replace('"data"', '"data\\u0000": [9], "data"'))),
        ("/v2/models/rule/infer", infer(also='"parameters": {"\\u0000": 1}, ')),
        ("/v2/models/verse/generate", '{"text_input": "the", "\\u0000": 1}'),
        ("/v2/models/verse/generate", '{"text_input": "the", "parameters": {"seed\\u0000": 1}}'),
    ],
)
def test_a_nul_in_a_key_is_refused_with_400(client, path, document):
    assert refused(client, path, content=document) == NUL


@pytest.mark.parametrize(
    ("path", "document"),
    [
        ("/v1/models/words:predict", '{"instances": HERE}'),
        ("/v1/models/words:predict", '{"inputs": {"text": HERE}}'),
        ("/v1/models/words:classify", '{"examples": ["a"], "context": HERE}'),
        ("/v2/models/rule/infer", infer(X.replace("[1, 1]", "HERE"))),
        ("/v2/models/rule/infer", infer(X.replace("[3]", "HERE"))),
        ("/v2/models/rule/infer", infer(also='"parameters": {"timeout": HERE}, ')),
        ("/v2/models/verse/generate", '{"text_input": "the", "stop": HERE}'),
        ("/v2/repository/models/rule/promote", '{"version": HERE}'),
    ],
)
@pytest.mark.parametrize("inside", ["NaN", "1", '"a"'])
def test_nine_hundred_levels_of_nesting_are_refused_with_400(client, path, document, inside):
    deep = "[" * 900 + inside + "]" * 900
    assert refused(client, path, content=document.replace("HERE", deep)) == TOO_DEEP


@pytest.mark.parametrize(
    ("path", "document", "key"),
    [
        ("/v1/models/words:predict", '{"instances": ["good"], "instances": ["bad"]}', "instances"),
        ("/v1/models/words:predict", '{"instances": [{"text": "good", "text": "bad"}]}', "text"),
        ("/v1/models/rule:predict", '{"inputs": {"x": [[1]], "x": [[2]]}}', "x"),
        ("/v1/models/words:classify", '{"examples": [{"text": "a"}], "context": {"a": NaN, "a": 1}}', "a"),
        ("/v2/models/rule/infer", infer(X.replace('"data"', '"data": [1], "data"')), "data"),
        ("/v2/models/rule/infer", infer(also='"id": "a", "id": "b", '), "id"),
        ("/v2/models/rule/infer", infer(also='"parameters": {"timeout": 1, "timeout": 2}, '), "timeout"),
        ("/v2/models/verse/generate", '{"text_input": "a", "text_input": "b"}', "text_input"),
        ("/v2/repository/models/rule/promote", '{"version": 1, "version": 2}', "version"),
        ("/v2/repository/index", '{"ready": true, "ready": false}', "ready"),
    ],
)
def test_equal_keys_in_an_object_are_refused_with_400(client, path, document, key):
    error = refused(client, path, content=document)
    assert error == f"JSON Parse error: an object has the key {key!r} twice; send each key once"


def test_equal_keys_before_binary_tensors_are_refused_with_400(client):
    head = '{"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 1], "shape": [1, 1], ' + (
        '"parameters": {"binary_data_size": 4}}]}'
    )
    length = {"inference-header-content-length": str(len(head))}
    error = refused(client, "/v2/models/rule/infer", content=head.encode() + bytes(4), headers=length)
    assert error == "JSON Parse error: an object has the key 'shape' twice; send each key once"


@pytest.mark.parametrize("number", ["1e400", "-1e400", "9" * 400 + ".5"])
def test_a_number_beyond_a_float_is_refused_though_infinity_is_allowed(client, number):
    assert client.post("/v1/models/rule:predict", content='{"instances": [[Infinity]]}').status_code == 200
    error = refused(client, "/v1/models/rule:predict", content=f'{{"instances": [[{number}]]}}')
    assert error.endswith("is too big for 64 bits; write Infinity for an infinite value")


def test_a_boundary_of_300_characters_is_refused_with_400(client):
    headers = {"content-type": f"multipart/form-data; boundary={'x' * 300}"}
    error = refused(client, "/v1/models/brightness:classify", content=b"--x", headers=headers)
    assert error.startswith("body is not valid multipart/form-data: ")


def test_a_tiff_that_pillow_trips_over_is_refused_with_400(client):
    data = damaged_tiff()
    error = refused(client, "/v1/models/brightness:classify", content=data, headers={"content-type": "image/tiff"})
    assert error.startswith("image is truncated or damaged: ")
    document = json.dumps({"instances": [{"b64": base64.b64encode(data).decode()}]})
    error = refused(client, "/v1/models/brightness:predict", content=document)
    assert error.startswith("instances[0]: image is truncated or damaged: ")


@pytest.mark.parametrize("address", [b"[", b"[::1", b"]", b"[v1.x]"])
@pytest.mark.parametrize("header", [b"Host: %s", b"Host: localhost\r\nOrigin: http://%s"])
def test_a_host_or_an_origin_that_is_not_an_address_keeps_admin_routes_closed(client, header, address):
    head, body = raw(client, b"POST /v2/repository/models/rule/unload HTTP/1.1", header % address)
    assert head.startswith(b"HTTP/1.1 403 ")
    error = json.loads(body)["error"]
    assert (
        "is not a name of this service" in error
        or "/v2/repository/models/rule/unload is closed to other sites" in error
    )


@pytest.mark.parametrize("length", [b"1_0", "١٢".encode(), b"0x5", b"9" * 5_000, b"5 5"])
def test_a_length_of_the_json_in_other_digits_is_refused_with_400(client, length):
    head, body = raw(
        client,
        b"POST /v2/models/rule/infer HTTP/1.1",
        b"Host: localhost",
        b"Inference-Header-Content-Length: " + length,
        body=b"{}",
    )
    assert head.startswith(b"HTTP/1.1 400 ")
    assert json.loads(body)["error"].startswith("Unable to parse Inference-Header-Content-Length, got: ")


@pytest.mark.parametrize(
    "accept", ["application/openmetrics-text; version=x.y", "application/openmetrics-text; version=1..0", "\xff;;q=="]
)
def test_metrics_are_printed_for_an_accept_header_that_makes_no_sense(client, accept):
    reply = client.get("/metrics", headers={"accept": accept.encode("latin-1")})
    assert reply.status_code == 200
    assert b"atelier_requests_total" in reply.content


def test_an_error_does_not_repeat_all_of_a_long_value(client):
    error = refused(
        client, "/v1/models/words:predict", content=json.dumps({"instances": ["a"], "signature_name": "x" * 10**5})
    )
    assert "signature 'xxx" in error
    assert len(error) < 400


@pytest.mark.parametrize("timeout", [2**64 - 1, 2**63, 10**18])
def test_the_longest_timeouts_are_kept(client, timeout):
    document = infer(also=f'"parameters": {{"timeout": {timeout}}}, ')
    assert client.post("/v2/models/rule/infer", content=document).json()["outputs"][0]["data"] == [5]


@pytest.mark.parametrize(
    "path",
    [
        *(
            "/",
            "/docs",
            "/docs/assets/swagger-ui.css",
            "/openapi.json",
            "/metrics",
            "/v2/health/live",
            "/v2/health/ready",
        ),
        *("/v1/models", "/v1/models/rule", "/v1/models/rule/metadata", "/v1/models/rule/versions/1", "/V1/MODELS/rule"),
        *("/v2", "/v2/models", "/v2/models/rule", "/v2/models/rule/ready", "/v2/models/rule/config", "/v2/devices"),
        *("/v2/models/rule/stats", "/v2/repository/models/rule"),
        *("/v1/models/none", "/v1/models/rule/versions/x", "/nothing"),
    ],
)
def test_head_is_answered_as_get_without_a_body(client, path):
    got, head = client.get(path), client.head(path)
    assert head.status_code == got.status_code
    assert head.content == b""
    changing = {"date", "x-request-id"}
    if path in {"/metrics", "/v2/models/rule/stats"}:
        changing.add("content-length")
    assert {**head.headers, **dict.fromkeys(changing)} == {**got.headers, **dict.fromkeys(changing)}


@pytest.mark.parametrize("path", ["/v1/models/rule:predict", "/v2/models/rule/infer", "/v2/repository/index"])
def test_head_of_a_route_that_takes_post_is_405(client, path):
    head = client.head(path)
    assert (head.status_code, head.headers["allow"], head.content) == (405, "POST", b"")


def test_head_is_in_no_document(client):
    paths = client.get("/openapi.json").json()["paths"]
    assert not [path for path, verbs in paths.items() if "head" in verbs]


def test_after_all_that_good_input_is_still_answered(client):
    assert client.post("/v1/models/rule:predict", json={"instances": [[3]]}).json() == {"predictions": [[5.0]]}
