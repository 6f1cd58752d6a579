"""Cross-origin requests as browsers send them: a preflight, the request, and headers that the page may read."""

import pytest

from tests.support.service import Service
from tests.support.tiny_models import SIDE, write_brightness_model, write_verse_model

APP = "https://app.example"
ELSEWHERE = "https://elsewhere.example"
PREDICT = "/v1/models/brightness:predict"
INFER = "/v2/models/brightness/infer"
LOAD = "/v2/repository/models/brightness/load"
IMAGE = bytes(SIDE * SIDE)
OCTETS = {"content-type": "application/octet-stream"}
PREFLIGHT = {
    "access-control-request-method": "POST",
    "access-control-request-headers": "content-type,authorization,x-request-id",
}


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    directory = tmp_path_factory.mktemp("models")
    write_brightness_model(directory)
    write_verse_model(directory)
    return directory


@pytest.fixture(scope="module")
def client(models):
    """A client of a service that permits one site."""
    service = Service(models, "--cors-origins", f"{APP}, http://localhost:3000/")
    yield service.client
    assert service.stop() == 0


def preflight(client, path, origin):
    return client.options(path, headers={"origin": origin, **PREFLIGHT})


@pytest.mark.parametrize(
    "path", [PREDICT, INFER, "/V1/models/brightness:predict", "/v2/models/brightness", "/v1/models"]
)
def test_a_preflight_of_a_page_that_is_allowed_is_answered(client, path):
    reply = preflight(client, path, APP)
    assert reply.status_code == 204
    assert reply.content == b""
    assert reply.headers["access-control-allow-origin"] == APP
    assert reply.headers["access-control-allow-methods"] == "GET, POST"
    assert reply.headers["access-control-allow-headers"] == PREFLIGHT["access-control-request-headers"]
    assert reply.headers["vary"] == "origin"
    assert "access-control-allow-credentials" not in reply.headers


@pytest.mark.parametrize("body", [IMAGE, bytes(200_000), b"{"], ids=["small", "large", "refused"])
def test_its_requests_are_answered_and_it_may_read_what_clients_need(client, body):
    reply = client.post(PREDICT, content=body, headers={**OCTETS, "origin": APP, "sec-fetch-site": "cross-site"})
    assert reply.status_code in {200, 400, 413}
    assert reply.headers["access-control-allow-origin"] == APP
    exposed = reply.headers["access-control-expose-headers"].split(", ")
    assert {"x-request-id", "server-timing", "retry-after", "inference-header-content-length"} <= set(exposed)


def test_events_and_states_are_open_to_it_as_well(client):
    page = {"origin": "http://localhost:3000", "sec-fetch-site": "cross-site"}
    for reply in (
        client.post("/v2/models/verse/generate_stream", json={"text_input": "the"}, headers=page),
        client.get("/v2/models/brightness", headers=page),
        client.get("/v2/models/none", headers=page),
    ):
        assert reply.headers["access-control-allow-origin"] == "http://localhost:3000"


def test_pages_of_other_origins_are_refused_without_cors_headers(client):
    for reply in (
        preflight(client, PREDICT, ELSEWHERE),
        client.post(PREDICT, content=IMAGE, headers={**OCTETS, "origin": ELSEWHERE}),
        client.post(PREDICT, content=IMAGE, headers={**OCTETS, "origin": "null"}),
        client.post(PREDICT, content=IMAGE, headers={**OCTETS, "origin": APP + ".evil.example"}),
    ):
        assert reply.status_code in {403, 405}
        assert "access-control-allow-origin" not in reply.headers
        assert reply.headers["vary"] == "origin"


def test_admin_routes_are_closed_to_every_page_of_another_site(client):
    assert preflight(client, LOAD, APP).status_code == 405
    assert client.post(LOAD, headers={"origin": APP, "sec-fetch-site": "cross-site"}).status_code == 403
    assert client.post(LOAD).status_code == 200


def test_a_star_opens_inference_to_all(models, start):
    client = start(models, "--cors-origins", "*").client
    for origin in (APP, "null"):
        assert preflight(client, INFER, origin).status_code == 204
        reply = client.post(PREDICT, content=IMAGE, headers={**OCTETS, "origin": origin})
        assert (reply.status_code, reply.headers["access-control-allow-origin"]) == (200, origin)
    assert client.post(LOAD, headers={"origin": APP}).status_code == 403


def test_without_the_setting_there_are_no_cors_headers(tiny):
    assert preflight(tiny, PREDICT, APP).status_code == 405
    reply = tiny.post(PREDICT, content=IMAGE, headers=OCTETS)
    assert not {"vary", "access-control-allow-origin"} & reply.headers.keys()


def test_an_invalid_origin_is_refused_in_words(models):
    for value in ("app.example", "https://app.example/path", "https://*.example/x"):
        with pytest.raises(AssertionError, match="is not an origin; write"):
            Service(models, "--cors-origins", value)
