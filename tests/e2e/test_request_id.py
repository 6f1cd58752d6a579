"""Request ids in replies and logs, the access log, and health probes."""

import json
import re
import threading

import grpc
import httpx
import pytest

from app.edge.grpc.health import HealthCheckRequest, HealthCheckResponse
from tests.support.bare_connection import Line, head
from tests.support.grpc_service import GrpcService
from tests.support.service import Service, wait_until
from tests.support.tiny_models import SIDE, write_brightness_model, write_fragile_model, write_verse_model

PREDICT = "/v1/models/brightness:predict"
IMAGE = bytes(SIDE * SIDE)
LARGE = bytes(200_000)
OCTETS = {"content-type": "application/octet-stream"}
NAME = "x-request-id"


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    directory = tmp_path_factory.mktemp("models")
    write_brightness_model(directory)
    write_fragile_model(directory)
    write_verse_model(directory)
    return directory


@pytest.fixture(scope="module")
def service(models):
    service = GrpcService(models, "--log-level", "debug", "--log-format", "json", "--access-log", "all")
    yield service
    assert service.stop() == 0


def lines(service, **fields):
    found = [json.loads(line) for line in service.lines]
    return [line for line in found if fields.items() <= line.items()]


def logged(service, **fields):
    wait_until(lambda: lines(service, logger="atelier.access", **fields))
    return lines(service, logger="atelier.access", **fields)[0]


ROUTES = {
    "small": lambda client, headers: client.post(PREDICT, content=IMAGE, headers={**OCTETS, **headers}),
    "large": lambda client, headers: client.post(PREDICT, content=LARGE, headers={**OCTETS, **headers}),
    "refused": lambda client, headers: client.post(PREDICT, content=b"{", headers=headers),
    "unknown model": lambda client, headers: client.post("/v2/models/no/infer", json={}, headers=headers),
    "status": lambda client, headers: client.get("/v1/models", headers=headers),
    "not found": lambda client, headers: client.get("/nothing", headers=headers),
    "wrong verb": lambda client, headers: client.get(PREDICT, headers=headers),
    "foreign host": lambda client, headers: client.get("/v1/models", headers={**headers, "host": "b.example"}),
    "text": lambda client, headers: client.post(
        "/v2/models/verse/generate_stream", json={"text_input": "a"}, headers=headers
    ),
}


@pytest.mark.parametrize("route", ROUTES)
def test_a_reply_has_the_requests_id_or_a_new_one(service, route):
    ask = ROUTES[route]
    assert ask(service.client, {NAME: f"mine {route}~"}).headers.get_list(NAME) == [f"mine {route}~"]
    made = [ask(service.client, {}).headers[NAME] for _ in range(2)]
    assert made[0] != made[1]
    assert all(re.fullmatch(r"[0-9a-f]{12}-[0-9a-f]+", each) for each in made)
    assert logged(service, request_id=made[0])["code"] >= 200


@pytest.mark.parametrize("given", [b"x" * 129, b"", b"caf\xc3\xa9", b"a\tb"])
def test_an_id_that_is_too_long_or_not_printable_is_replaced(service, given):
    reply = service.client.post(PREDICT, content=IMAGE, headers=[(b"x-request-id", given)])
    assert re.fullmatch(r"[0-9a-f]{12}-[0-9a-f]+", reply.headers[NAME])


def test_a_request_that_its_connection_refuses_has_one_too(service):
    with Line(service.url) as line:
        line.send(head("X-Request-ID: mine-413\r\n", length=10**9))
        assert b"x-request-id: mine-413" in line.socket.recv(65_536)
    assert logged(service, request_id="mine-413")["code"] == 413


def test_a_failure_and_a_refusal_are_logged_with_it(service):
    body = {"instances": [[float(x) for x in range(4)]]}
    service.client.post("/v1/models/brightness:predict", json=body, headers={NAME: "refusal-1"})
    wait_until(lambda: lines(service, logger="atelier.edge", request_id="refusal-1"))


def test_the_access_log_has_client_request_and_status(service):
    service.client.post(PREDICT, content=IMAGE, headers={**OCTETS, NAME: "line-1"})
    line = logged(service, request_id="line-1")
    assert line["client"].startswith("127.0.0.1:")
    assert (line["model"], line["version"], line["protocol"], line["code"]) == ("brightness", 1, "v1:predict", 200)
    assert line["bytes"] > 10
    assert 0 < line["ms"] < 10_000
    service.client.get("/v2/health/live", headers={NAME: "line-2"})
    line = logged(service, request_id="line-2")
    assert (line["method"], line["path"], line["code"]) == ("GET", "/v2/health/live", 200)


def test_grpc_answers_with_it_as_trailing_metadata(service):
    def trailer(call):
        return dict(call.trailing_metadata())[NAME]

    request = service.stub.ServerLive.with_call
    from tritonclient.grpc import service_pb2 as pb

    _, call = request(pb.ServerLiveRequest(), metadata=((NAME, "grpc-1"),))
    assert trailer(call) == "grpc-1"
    _, call = request(pb.ServerLiveRequest())
    assert re.fullmatch(r"[0-9a-f]{12}-[0-9a-f]+", trailer(call))
    with pytest.raises(grpc.RpcError) as refused:
        service.stub.ModelInfer(pb.ModelInferRequest(model_name="no"), metadata=((NAME, "grpc-2"),))
    assert trailer(refused.value) == "grpc-2"
    line = logged(service, request_id="grpc-2")
    assert (line["protocol"], line["model"], line["code"]) == ("grpc:infer", "no", 404)


def test_errors_or_a_share_can_be_logged_and_the_default_is_off(models, start):
    silent, errors, share = (
        start(models, *flags) for flags in ((), ("--access-log", "errors"), ("--access-log", "0.2"))
    )
    for service in (silent, errors, share):
        for _ in range(100):
            assert service.client.post(PREDICT, content=IMAGE, headers=OCTETS).status_code == 200
        service.client.post(PREDICT, content=b"", headers={NAME: "the last"})
    errors.wait_for_log("code=400", also='request_id="the last"')
    assert "code=200" not in errors.log
    wait_until(lambda: 0 < share.log.count("code=200") < 80)
    assert "the last" not in silent.log
    assert "protocol=" not in silent.log


def test_a_log_entry_stays_one_line_with_any_characters_in_the_path(models, start):
    service = start(models, "--access-log", "all")
    service.client.get("/a%0Acode=200%20b")
    service.wait_for_log(r'path="/a\ncode=200 b"')


def test_an_invalid_access_log_is_refused_in_words(models):
    for value in ("some", "0", "1.5", "nan"):
        with pytest.raises(AssertionError, match="choose off, errors, all, or a share"):
            Service(models, "--access-log", value)


def test_the_common_names_of_health_answer_get_and_head(service, tmp_path, start):
    for path in ("/livez", "/healthz"):
        assert service.client.get(path).status_code == 200
        assert service.client.head(path).status_code == 200
        assert service.client.get(path, headers={"host": "10.0.0.7"}).status_code == 200
    empty = start(tmp_path, wait_ready=False)
    assert httpx.get(empty.url + "/livez").status_code == 200
    assert httpx.get(empty.url + "/healthz").status_code == 503


def health(service, method, request):
    of_kind = service.channel.unary_stream if method == "Watch" else service.channel.unary_unary
    call = of_kind(
        f"/grpc.health.v1.Health/{method}",
        request_serializer=HealthCheckRequest.SerializeToString,
        response_deserializer=HealthCheckResponse.FromString,
    )
    return call(HealthCheckRequest(service=request))


def test_grpc_health_reports_the_same_state_as_ready(service):
    for name in ("", "inference.GRPCInferenceService"):
        assert health(service, "Check", name).status == 1
    with pytest.raises(grpc.RpcError) as refused:
        health(service, "Check", "other")
    assert refused.value.code() == grpc.StatusCode.NOT_FOUND
    watched = health(service, "Watch", "other")
    assert next(watched).status == 3
    watched.cancel()


def test_watchers_of_grpc_health_are_notified_of_changes_and_do_not_delay_the_shutdown(tmp_path):
    write_brightness_model(tmp_path)
    service = GrpcService(tmp_path, "--drain-delay-s", "1")
    seen = []
    watching = threading.Thread(target=lambda: seen.extend(each.status for each in health(service, "Watch", "")))
    watching.start()
    wait_until(lambda: seen == [1])
    service.client.post("/v2/repository/models/brightness/unload")
    wait_until(lambda: seen == [1, 2])
    service.client.post("/v2/repository/models/brightness/load")
    wait_until(lambda: seen == [1, 2, 1])
    assert service.stop() == 0
    watching.join(30)
    assert seen == [1, 2, 1, 2]
