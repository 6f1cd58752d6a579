"""API keys as an operator creates them and as clients send them."""

import os
import re
import subprocess
import sys
import time

import grpc
import pytest
from tritonclient.grpc import service_pb2 as pb

from tests.support.bare_connection import Line, head
from tests.support.commands import run
from tests.support.grpc_requests import pixels, refusal
from tests.support.grpc_service import GrpcService
from tests.support.service import ROOT, own_environment, wait_until
from tests.support.tiny_models import SIDE, write_brightness_model
from tests.support.workers import Workers

ADMIN_KEY = "the-one-admin-key"
LOAD = "/v2/repository/models/brightness/load"
PREDICT = "/v1/models/brightness:predict"
IMAGE = bytes(SIDE * SIDE)
LARGE = bytes(200_000)
OPEN = ("/v2/health/live", "/v2/health/ready", "/v1/models", "/v2/models/brightness/ready", "/metrics", "/docs")


def keys_command(path, *arguments):
    return run("keys", *arguments, ATELIER_API_KEYS_FILE=str(path))


def new_key(path, name, *arguments):
    made = keys_command(path, "new", "--name", name, *arguments)
    assert made.returncode == 0, made.stderr
    return made.stdout.strip()


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    directory = tmp_path_factory.mktemp("keys")
    write_brightness_model(directory / "models")
    return directory


@pytest.fixture(scope="module")
def keys(place):
    path = place / "keys.json"
    return {
        "infer": new_key(path, "app", "--scopes", "infer"),
        "admin": new_key(path, "operator", "--scopes", "admin,metrics"),
        "both": new_key(path, "tool", "--scopes", "infer,admin"),
        "slow": new_key(path, "slow", "--scopes", "infer", "--rate", "0.5"),
        "large": new_key(path, "large", "--scopes", "infer", "--rate", "1"),
    }


@pytest.fixture(scope="module")
def service(place, keys):
    """A service that requires keys; no key may be in its log."""
    environment = {"ATELIER_API_KEYS_FILE": str(place / "keys.json"), "ATELIER_ADMIN_KEY": ADMIN_KEY}
    service = GrpcService(place / "models", "--log-level", "debug", environment=environment)
    yield service
    assert service.stop() == 0
    for secret in (*keys.values(), ADMIN_KEY):
        assert secret not in service.log
    assert "Traceback" not in service.log


def predict(client, key=None, body=IMAGE, *, name="authorization"):
    headers = {"content-type": "application/octet-stream"}
    if key is not None:
        headers[name] = key if name == "x-api-key" else f"Bearer {key}"
    return client.post(PREDICT, content=body, headers=headers)


@pytest.mark.parametrize("body", [IMAGE, LARGE], ids=["small", "large"])
def test_inference_needs_a_key_for_it(service, keys, body):
    for refused in (predict(service.client, body=body), predict(service.client, "wrong", body)):
        assert refused.status_code == 401
        assert refused.headers["www-authenticate"] == "Bearer"
    assert predict(service.client, keys["admin"], body).status_code == 403
    answered = 200 if body is IMAGE else 413  # for this model
    for name in ("authorization", "x-api-key"):
        assert predict(service.client, keys["infer"], body, name=name).status_code == answered


def test_without_a_key_an_unknown_model_gets_the_same_answer_as_a_known_one(service):
    assert service.client.post("/v2/models/no-such-model/infer", json={}).status_code == 401


def test_health_status_and_metrics_stay_open(service):
    assert [service.client.get(path).status_code for path in OPEN] == [200] * len(OPEN)


def test_admin_routes_take_the_admin_key_and_keys_for_administrators(service, keys):
    def load(key):
        return service.client.post(LOAD, headers={"authorization": f"Bearer {key}"}).status_code

    assert [load(key) for key in (ADMIN_KEY, keys["admin"], keys["both"])] == [200] * 3
    assert [load(key) for key in (keys["infer"], "wrong")] == [403, 401]
    assert service.client.post(LOAD).status_code == 401


@pytest.mark.parametrize("name", ["authorization", "x-api-key"])
@pytest.mark.parametrize(
    ("path", "body"), [(PREDICT, IMAGE), (PREDICT, LARGE), (LOAD, b"")], ids=["small", "large", "admin"]
)
def test_a_key_that_is_sent_twice_is_refused(service, keys, name, path, body):
    """A proxy may have checked one of them, and the service would take the other."""
    prefix = "Bearer " if name == "authorization" else ""
    for pair in (("wrong", keys["both"]), (keys["both"], "wrong"), (keys["both"], keys["both"])):
        refused = service.client.post(path, content=body, headers=[(name, prefix + key) for key in pair])
        assert refused.status_code == 401
        assert refused.json()["error"] == f"{name} was sent twice; send it once"


def test_the_admin_key_is_sent_like_any_other(service):
    for name, value in (("authorization", f"bearer {ADMIN_KEY}"), ("x-api-key", ADMIN_KEY)):
        assert service.client.post(LOAD, headers={name: value}).status_code == 200
        service.triton.load_model("brightness", headers={name: value})


def test_a_key_that_is_used_too_often_gets_429_with_retry_after(service, keys):
    assert predict(service.client, keys["slow"]).status_code == 200
    refused = predict(service.client, keys["slow"])
    assert refused.status_code == 429
    assert 1 <= int(refused.headers["retry-after"]) <= 2
    assert predict(service.client, keys["infer"]).status_code == 200


def test_a_large_request_counts_once(service, keys):
    """It starts on the short path through the service and continues on the long one."""
    assert predict(service.client, keys["large"], LARGE).status_code == 413  # more instances than fit the queue
    assert predict(service.client, keys["large"], LARGE).status_code == 429


def test_the_access_log_names_the_key_of_a_refused_request(place, keys, start):
    environment = {"ATELIER_API_KEYS_FILE": str(place / "keys.json"), "ATELIER_ACCESS_LOG": "all"}
    service = start(place / "models", environment=environment)
    assert predict(service.client, keys["admin"]).status_code == 403
    codes = [predict(service.client, keys["slow"]).status_code for _ in range(3)]
    assert codes.count(429) >= 1
    wait_until(lambda: "code=429" in service.log)
    lines = [line for line in service.log.splitlines() if "code=403" in line or "code=429" in line]
    assert {re.search(r"key=(\S+)", line)[1] for line in lines} == {"operator", "slow"}
    assert "API keys are in force" in service.log


def test_grpc_requires_the_same_keys(service, keys):
    assert refusal(service.triton.infer, "brightness", pixels())[0] == grpc.StatusCode.UNAUTHENTICATED.name
    for name, value in (("authorization", f"Bearer {keys['infer']}"), ("x-api-key", keys["infer"])):
        service.triton.infer("brightness", pixels(), headers={name: value})
    admin = {"authorization": f"Bearer {keys['admin']}"}
    assert refusal(service.triton.infer, "brightness", pixels(), headers=admin)[0] == "PERMISSION_DENIED"
    service.triton.load_model("brightness", headers=admin)
    assert refusal(service.triton.load_model, "brightness")[0] == "UNAUTHENTICATED"
    assert service.triton.is_server_ready()


def test_over_grpc_a_key_that_is_sent_twice_is_refused(service, keys):
    metadata = [("authorization", "Bearer wrong"), ("authorization", f"Bearer {keys['both']}")]
    for call, request in (
        (service.stub.ModelInfer, pb.ModelInferRequest(model_name="brightness")),
        (service.stub.RepositoryModelLoad, pb.RepositoryModelLoadRequest(model_name="brightness")),
    ):
        with pytest.raises(grpc.RpcError) as refused:
            call(request, metadata=metadata)
        assert refused.value.code() == grpc.StatusCode.UNAUTHENTICATED
        assert refused.value.details() == "authorization was sent twice; send it once"


def test_metrics_can_require_a_key(place, keys, start):
    environment = {"ATELIER_API_KEYS_FILE": str(place / "keys.json"), "ATELIER_METRICS_ACCESS": "key"}
    client = start(place / "models", environment=environment).client
    codes = [
        client.get("/metrics", headers={"x-api-key": key}).status_code for key in ("", keys["infer"], keys["admin"])
    ]
    assert codes == [401, 403, 200]


def test_keys_are_added_and_revoked_without_a_restart_and_a_broken_file_is_ignored(tmp_path, place, start):
    path = tmp_path / "keys.json"
    first = new_key(path, "first")
    workers = Workers(start(place / "models", "--workers", "2", "--api-keys-file", str(path)))
    client = workers.client

    def codes(key):
        return {predict(client, key).status_code for _ in range(6)}

    second = new_key(path, "second")
    wait_until(lambda: codes(second) == {200})
    time.sleep(2.5)  # both workers read it within two seconds, even if only one has answered
    path.write_text("{broken")
    workers.service.wait_for_log("the previous keys stay in effect")
    assert codes(first) == codes(second) == {200}
    path.unlink()
    third = new_key(path, "third")
    wait_until(lambda: codes(third) == {200} and codes(first) == {401})
    workers.close()


def test_a_key_is_replaced_by_another_one_while_the_service_runs(tmp_path, place, start):
    path = tmp_path / "keys.json"
    old, other = new_key(path, "shop-2026"), new_key(path, "batch", "--scopes", "infer,feedback", "--rate", "2.5")
    client = start(place / "models", "--api-keys-file", str(path)).client
    new = new_key(path, "shop-2027")
    listed = keys_command(path, "list")
    assert listed.returncode == 0
    assert [name in listed.stdout for name in ("shop-2026", "shop-2027", "infer, feedback", "2.5/s")] == [True] * 4
    assert not any(key in listed.stdout for key in (old, new, other))
    wait_until(lambda: predict(client, new).status_code == 200)
    assert predict(client, old).status_code == 200
    assert keys_command(path, "remove", "--name", "shop-2026").returncode == 0
    wait_until(lambda: predict(client, old).status_code == 401)
    assert predict(client, new).status_code == 200
    missing = keys_command(path, "remove", "--name", "shop-2026")
    assert missing.returncode == 2
    assert f"there is no key named 'shop-2026' in {str(path)!r}; it has batch, shop-2027" in missing.stderr
    assert predict(client, new).status_code == 200


@pytest.mark.parametrize("arguments", [("list",), ("remove", "--name", "a")])
def test_a_file_of_keys_that_is_missing_or_broken_is_named(tmp_path, arguments):
    path = tmp_path / "keys.json"
    for content in (None, "{broken"):
        if content is not None:
            path.write_text(content)
        failed = keys_command(path, *arguments)
        assert failed.returncode == 2
        assert f"the file of API keys {str(path)!r}" in failed.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give a file away")
def test_the_file_stays_that_of_its_owner_when_root_adds_a_key(tmp_path):
    path = tmp_path / "keys.json"
    new_key(path, "first")
    os.chown(path, 12_345, 54_321)
    path.chmod(0o640)
    new_key(path, "second")
    keys_command(path, "remove", "--name", "first")
    found = path.stat()
    assert (found.st_uid, found.st_gid, found.st_mode & 0o777) == (12_345, 54_321, 0o640)


@pytest.mark.parametrize("length", [IMAGE, LARGE], ids=["small", "large"])
def test_a_request_without_a_key_is_refused_by_its_head_and_its_body_is_not_waited_for(service, length):
    with Line(service.url) as line:
        line.send(head(length=len(length)))
        assert line.reply()[0] == 401


def test_no_file_is_a_mistake_at_start(place):
    command = [sys.executable, "-m", "app", "serve", "--port", "0", "--models-dir", str(place / "models")]
    for path, error in ((place / "none.json", "No such file"), (place / "models", "is a directory")):
        started = subprocess.run(
            [*command, "--api-keys-file", str(path)], cwd=ROOT, env=own_environment(), capture_output=True, check=False
        )
        assert started.returncode == 2
        assert error in started.stderr.decode()
