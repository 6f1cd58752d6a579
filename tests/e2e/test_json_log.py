"""The log of a service with --log-format json: one object a line, with the request, the model and the version."""

import json

import pytest

from tests.support.service import Service, wait_until
from tests.support.tiny_models import write_brightness_model, write_fragile_model, write_words_model

NAME = "x-request-id"
PAYLOAD = "the-content-of-a-body"


@pytest.fixture(scope="module", params=["1", "2"], ids=["one process", "two workers"])
def service(request, tmp_path_factory):
    models = tmp_path_factory.mktemp("models")
    for write in (write_brightness_model, write_fragile_model, write_words_model):
        write(models)
    (write_brightness_model(models, version=2) / "model.onnx").write_bytes(b"no graph")
    service = Service(models, "--workers", request.param, "--log-format", "json", "--access-log", "all")
    yield service
    assert service.stop() == 0


def lines(service, **fields):
    """The lines with these fields. Each line of the log must be one object with what every line has."""
    found = [json.loads(line) for line in service.lines]
    for line in found:
        assert {"time", "level", "logger", "message"} <= line.keys()
    return [line for line in found if fields.items() <= line.items()]


def one(service, **fields):
    wait_until(lambda: lines(service, **fields))
    return lines(service, **fields)[0]


def test_lines_about_versions_name_them(service):
    ready = one(service, level="info", model="words", version=1)
    assert "model words version 1 ready" in ready["message"]
    refused = one(service, level="error", model="brightness", version=2)
    assert "refused" in refused["message"]


def test_a_failure_names_the_request_the_model_and_the_version(service):
    """An index of 10 fails in the backend."""
    body = {"instances": [10]}
    reply = service.client.post("/v1/models/fragile:predict", json=body, headers={NAME: "fails"})
    assert reply.status_code == 500
    line = one(service, level="error", request_id="fails")
    assert (line["model"], line["version"]) == ("fragile", 1)


def test_the_access_log_names_them_too(service):
    service.client.post("/v1/models/words:classify", content=b"good", headers={NAME: "passes"}).raise_for_status()
    line = one(service, logger="atelier.access", request_id="passes")
    assert (line["model"], line["version"], line["code"]) == ("words", 1, 200)


def test_no_line_has_the_content_of_a_body(service):
    for path, content in (
        ("/v1/models/words:classify", f"good {PAYLOAD}".encode()),
        ("/v1/models/words:predict", json.dumps({"instances": [PAYLOAD]}).encode()),
        ("/v1/models/brightness:predict", json.dumps({"instances": [[PAYLOAD]]}).encode()),
        ("/v2/models/words/infer", json.dumps({"inputs": [{"name": PAYLOAD}]}).encode()),
        (f"/v1/models/words:classify?{PAYLOAD}=1", b"good"),
    ):
        headers = {
            NAME: "the last",
            "content-type": "text/plain" if content.startswith(b"good") else "application/json",
        }
        service.client.post(path, content=content, headers={**headers, "x-secret": PAYLOAD})
    wait_until(lambda: len(lines(service, logger="atelier.access", request_id="the last")) == 5)
    assert PAYLOAD not in service.log
