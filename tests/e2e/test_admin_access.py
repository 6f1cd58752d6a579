"""Access to admin routes, and the allowed Host and Origin headers."""

import re
import signal
import stat

import grpc
import httpx
import pytest

from tests.support.grpc_requests import refusal
from tests.support.grpc_service import GrpcService
from tests.support.service import Service
from tests.support.tiny_models import SIDE
from tests.support.workers import Workers

KEY = "s3cret"
LOAD = "/v2/repository/models/brightness/load"
PREDICT = "/v1/models/brightness:predict"
IMAGE = bytes(SIDE * SIDE)
LARGE = bytes(200_000)  # handled by uvicorn's path, and refused by the model only then
OCTETS = {"content-type": "application/octet-stream"}
FOREIGN = "http://elsewhere.example"
FORWARDING = {
    "forwarded": "for=192.0.2.1",
    "x-forwarded-for": "192.0.2.1",
    "X-Forwarded-Proto": "https",
    "x-forwarded-host": "models.example",
    "x-real-ip": "192.0.2.1",
    "via": "1.1 proxy",
    "x_forwarded_for": "192.0.2.1",
    "X_Forwarded-Proto": "https",
    "x_real_ip": "192.0.2.1",
}


def predict(client, body=IMAGE, **headers):
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    return client.post(PREDICT, content=body, headers={**OCTETS, **headers})


@pytest.mark.parametrize("name", FORWARDING)
def test_a_keyless_admin_call_that_a_proxy_forwarded_is_refused(tiny, name):
    reply = tiny.post(LOAD, headers={name: FORWARDING[name]})
    assert reply.status_code == 403
    assert f"came through a proxy: it has {name.lower()!r}" in reply.json()["error"]
    assert predict(tiny, **{name: FORWARDING[name]}).status_code == 200


def test_with_a_key_a_proxy_may_forward_admin_calls(models, start):
    client = start(models, environment={"ATELIER_ADMIN_KEY": KEY}).client
    headers = {"authorization": f"Bearer {KEY}", "x-forwarded-for": "192.0.2.1"}
    assert client.post(LOAD, headers=headers).status_code == 200
    for page in ({"sec-fetch-site": "cross-site"}, {"sec-fetch-site": "same-site"}, {"origin": FOREIGN}):
        refused = client.post(LOAD, headers={**headers, **page})
        assert refused.status_code == 403
        assert "closed to other sites" in refused.json()["error"]
    assert client.post(LOAD, headers={**headers, "sec-fetch-site": "same-origin"}).status_code == 200


@pytest.mark.parametrize("body", [IMAGE, LARGE], ids=["small", "large"])
@pytest.mark.parametrize(
    "page", [{"sec_fetch_site": "cross-site"}, {"sec_fetch_site": "same-site"}, {"origin": FOREIGN}, {"origin": "null"}]
)
def test_pages_of_other_sites_cannot_request_predictions(tiny, page, body):
    reply = predict(tiny, body, **page)
    assert reply.status_code == 403
    assert "the request comes from a page of" in reply.json()["error"]


def test_pages_of_the_service_itself_can(tiny):
    own = str(tiny.base_url).rstrip("/")
    for page in ({"origin": own}, {"origin": own, "sec_fetch_site": "same-origin"}, {"sec_fetch_site": "none"}):
        assert predict(tiny, **page).status_code == 200


@pytest.mark.parametrize(
    "host", ["elsewhere.example", "elsewhere.example:80", "127.0.0.1.nip.example", "10.0.0.1", "["]
)
def test_on_loopback_a_name_that_is_not_loopbacks_is_not_a_name_of_the_service(tiny, host):
    for reply in (
        tiny.get("/v1/models", headers={"host": host}),
        predict(tiny, host=host),
        predict(tiny, LARGE, host=host),
        tiny.post(LOAD, headers={"host": host}),
    ):
        assert reply.status_code == 403
        assert f"the Host header is {host!r}" in reply.json()["error"]


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:1", "localhost.", "127.0.0.1", "127.3.2.1:99", "[::1]", "[::1]:5"]
)
def test_every_name_of_loopback_is_with_any_port(tiny, host):
    for _ in range(2):  # the second time from memory
        assert predict(tiny, host=host).status_code == 200


def test_other_names_are_allowed_by_a_setting(models, start):
    client = start(models, environment={"ATELIER_ALLOWED_HOSTS": "models.example, 10.0.0.1"}).client
    assert [predict(client, host=host).status_code for host in ("models.example:8080", "10.0.0.1", "b.example")] == [
        200,
        200,
        403,
    ]


def test_beyond_loopback_all_names_are_allowed_unless_some_are_given(models, start):
    service = start(models, "--host", "0.0.0.0")
    assert predict(service.client, host="b.example").status_code == 200
    service = start(models, "--host", "0.0.0.0", environment={"ATELIER_ALLOWED_HOSTS": "models.example"})
    assert [predict(service.client, host=host).status_code for host in ("models.example", "b.example")] == [200, 403]


def test_admin_off_closes_the_admin_routes_over_both_protocols(models):
    service = GrpcService(models, "--admin", "off", environment={"ATELIER_ADMIN_KEY": KEY})
    try:
        bearer = {"authorization": f"Bearer {KEY}"}
        for call in ("load", "unload", "promote", "rollback"):
            reply = service.client.post(f"/v2/repository/models/brightness/{call}", headers=bearer)
            assert reply.status_code == 403
            assert reply.json()["error"].endswith("is closed; the service was started with --admin off")
        code, details = refusal(service.triton.load_model, "brightness", headers=bearer)
        assert code == "PERMISSION_DENIED"
        assert "--admin off" in details
        assert service.client.post("/v2/repository/index").status_code == 200
    finally:
        assert service.stop() == 0


def test_admin_loopback_lets_callers_of_this_machine_through_without_the_key(models, start):
    service = start(models, "--admin", "loopback", environment={"ATELIER_ADMIN_KEY": KEY})
    assert service.client.post(LOAD).status_code == 200


def test_admin_key_without_a_key_is_a_mistake(models):
    with pytest.raises(AssertionError, match="--admin key requires a key"):
        Service(models, "--admin", "key")


def admin_address(service):
    found = re.search(r"admin routes are answered at (\S+)", service.log)
    assert found, service.log
    return found[1]


@pytest.mark.parametrize("workers", ["1", "2"])
def test_admin_routes_on_a_separate_port_are_answered_only_there(models, start, workers):
    service = start(models, "--admin-bind", "127.0.0.1:0", "--workers", workers)
    with httpx.Client(base_url=f"http://{admin_address(service)}", timeout=30) as admin:
        refused = service.client.post(LOAD)
        assert refused.status_code == 403
        assert "answered at the address given with --admin-bind" in refused.json()["error"]
        assert service.client.post("/v2/repository/index").status_code == 200
        assert admin.get("/v2/health/live").status_code == 200
        assert admin.post(LOAD).status_code == 200
        assert admin.post(LOAD, headers={"x-forwarded-for": "192.0.2.1"}).status_code == 403
        assert admin.post("/v2/repository/models/brightness/unload").status_code == 200
        if workers == "2":
            workers = Workers(service)
            assert {workers.client.get("/v2/models/brightness/ready").status_code for _ in range(8)} == {503}
            workers.close()
        assert predict(service.client).status_code == 503


@pytest.mark.parametrize("workers", ["1", "2"])
def test_admin_routes_on_a_unix_socket_are_for_its_owner_and_go_with_the_service(models, tmp_path, workers):
    path = tmp_path / "admin.sock"
    for _ in range(2):
        service = Service(models, "--host", "0.0.0.0", "--admin-bind", f"unix:{path}", "--workers", workers)
        try:
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
            with httpx.Client(transport=httpx.HTTPTransport(uds=str(path)), base_url="http://localhost") as admin:
                assert admin.post(LOAD).status_code == 200
            assert service.client.post(LOAD).status_code == 403
        finally:
            assert service.stop() == 0
        assert not path.exists()


def test_the_socket_of_a_service_that_runs_is_not_taken_that_of_one_that_was_killed_is(models, tmp_path, start):
    address = f"unix:{tmp_path / 'admin.sock'}"
    first = start(models, "--admin-bind", address)
    with pytest.raises(AssertionError, match=r"cannot listen on unix:.*admin\.sock for administrators"):
        Service(models, "--admin-bind", address)
    assert first.stop(signal.SIGKILL) == -signal.SIGKILL
    start(models, "--admin-bind", address)


def test_with_a_separate_admin_listener_admin_calls_over_grpc_are_refused(models):
    service = GrpcService(models, "--admin-bind", "127.0.0.1:0")
    try:
        code, details = refusal(service.triton.load_model, "brightness")
        assert code == "PERMISSION_DENIED"
        assert "--admin-bind" in details
    finally:
        assert service.stop() == 0


def test_grpc_admin_calls_that_a_proxy_forwarded_are_refused(models):
    service = GrpcService(models)
    try:
        code, details = refusal(service.triton.load_model, "brightness", headers={"x-forwarded-for": "192.0.2.1"})
        assert (code, "came through a proxy" in details) == (grpc.StatusCode.PERMISSION_DENIED.name, True)
        service.triton.load_model("brightness")
    finally:
        assert service.stop() == 0


@pytest.mark.parametrize("address", ["9000", "127.0.0.1:", "127.0.0.1:70000", "unix:relative.sock"])
def test_an_invalid_address_is_refused_in_words(models, address):
    with pytest.raises(AssertionError, match=re.escape(f"{address!r} is not an address")):
        Service(models, "--admin-bind", address)
