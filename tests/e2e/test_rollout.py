"""A canary next to the stable version: a percentage of the requests, mirrored requests, and limits that halt it."""

import json
import socket
import threading
from contextlib import contextmanager

import httpx
import numpy as np
import pytest
import tritonclient.grpc as triton_grpc
from tritonclient.utils import InferenceServerException

from tests.support.commands import command
from tests.support.http_requests import RANDOM, answers, ask, image
from tests.support.model_state import entry, serving, shadow
from tests.support.models_directory import publish, write_policy
from tests.support.service import wait_until
from tests.support.tiny_models import SIDE, write_brightness_model, write_fragile_model


@pytest.fixture
def models(tmp_path):
    directory = tmp_path / "models"
    write_brightness_model(directory)
    return directory


def read_policy(models, name="brightness"):
    return json.loads((models / name / "serving.json").read_text())


def test_a_percentage_of_the_requests_goes_to_the_canary_by_their_content(start, models):
    publish(models, 2)
    write_policy(models, {"canary": {"percent": 20}})
    service = start(models)
    bodies = [image() for _ in range(400)]
    first = [ask(service.client, body) for body in bodies]
    assert 40 < first.count("2") < 130
    assert set(first) == {"1", "2"}
    with httpx.Client(base_url=service.url) as other:
        assert [ask(other, body) for body in bodies] == first
    assert shadow(service)["requests"] == {"count": 2 * first.count("2"), "errors": 0}
    # A request with a version or a label gets that version.
    for place, version in (("/versions/1", "1"), ("/versions/2", "2")):
        reply = service.client.post(f"/v2/models/brightness{place}/infer", json=bodies[0])
        assert reply.json()["model_version"] == version
    assert shadow(service)["requests"]["count"] == 2 * first.count("2")


def test_a_header_makes_it_sticky(start, models):
    publish(models, 2)
    write_policy(models, {"canary": {"percent": 50, "sticky_header": "X-User"}})
    service = start(models)
    for user in range(40):
        got = {ask(service.client, headers={"x-user": f"user-{user}"}) for _ in range(5)}
        assert len(got) == 1
    all_users = [ask(service.client, headers={"X-User": f"user-{user}"}) for user in range(40)]
    assert 8 < all_users.count("2") < 32


@pytest.mark.parametrize(("percent", "expected"), [(0, {"1"}), (100, {"2"})])
def test_none_and_all(start, models, percent, expected):
    publish(models, 2)
    write_policy(models, {"canary": {"percent": percent}})
    service = start(models)
    assert {ask(service.client) for _ in range(30)} == expected


def test_large_bodies_and_other_protocols_are_split_too(start, models):
    publish(models, 2)
    write_policy(models, {"canary": {"percent": 100}})
    service = start(models, "--grpc-port", "0")
    padded = json.dumps(image()).encode().ljust(100_000)
    reply = service.client.post("/v2/models/brightness/infer", content=padded)
    assert reply.json()["model_version"] == "2"
    service.client.post("/v1/models/brightness:predict", json={"instances": [[[0] * SIDE] * SIDE]}).raise_for_status()
    port = next(line for line in service.lines if "gRPC listens on" in line).split(":")[-1].split()[0]
    with triton_grpc.InferenceServerClient(f"127.0.0.1:{port}") as client:
        given = triton_grpc.InferInput("pixels", [1, SIDE, SIDE], "UINT8")
        given.set_data_from_numpy(np.zeros((1, SIDE, SIDE), np.uint8))
        assert client.infer("brightness", [given]).get_response().model_version == "2"
        assert client.infer("brightness", [given], model_version="1").get_response().model_version == "1"
    assert shadow(service)["requests"] == {"count": 3, "errors": 0}


def test_copies_are_compared_without_effect_on_clients(start, models):
    publish(models, 2)  # only what is brighter by 50 grey values is bright
    write_policy(models, {"shadow": {}})
    service = start(models)
    for level in (0, 255, 150, 100):  # 150 is bright for version 1 and dark for version 2
        for _ in range(5):
            assert ask(service.client, image(level)) == "1"
    wait_until(lambda: shadow(service)["instances"]["compared"] == 20)
    found = shadow(service)
    assert found["copies"] == {"count": 20, "errors": 0, "dropped": 0}
    assert (found["stable"], found["canary"], found["state"]) == ("1", "2", "running")
    assert found["instances"]["agreed"] == 15
    assert found["score_distance"]["max"] > 0.9
    assert 0 < found["score_distance"]["mean"] < 0.6
    assert found["score_distance"]["p50"] < 0.1  # of 20 instances 5 are far apart
    assert 0.5 < found["score_distance"]["p99"] <= found["score_distance"]["max"]
    assert found["compute_ms"]["stable"] > 0
    assert found["compute_ms"]["canary"] > 0
    assert found["requests"] == {"count": 0, "errors": 0}
    labels = {"model": "brightness", "version": "2"}
    assert service.metric("atelier_shadow_rows_total", **labels, result="agreed") == 15
    assert service.metric("atelier_shadow_rows_total", **labels, result="differed") == 5
    assert service.metric("atelier_shadow_copies_total", **labels, result="ran") == 20
    assert service.metric("atelier_shadow_score_distance_sum", **labels) == pytest.approx(
        20 * found["score_distance"]["mean"]
    )
    assert service.metric("atelier_shadow_score_distance_count", **labels) == 20
    assert service.metric("atelier_shadow_score_distance_bucket", **labels, le="0.5") == 15
    assert service.metric("atelier_shadow_score_distance_bucket", **labels, le="1.0") == 20
    assert service.metric("atelier_canary_halted", **labels) == 0


def test_a_share_of_copies(start, models):
    publish(models, 2)
    write_policy(models, {"shadow": {"percent": 25}})
    service = start(models)
    for _ in range(200):
        ask(service.client)
    wait_until(lambda: shadow(service)["copies"]["count"] > 20)
    assert shadow(service)["copies"]["count"] < 90


def test_too_much_disagreement_halts_the_canary_and_a_restart_does_not_forget(start, models):
    publish(models, 2, bias=500.0)  # everything is dark
    rollout = {"canary": {"percent": 50}, "shadow": {}, "rollback": {"max_disagreement": 0.2, "min_requests": 40}}
    write_policy(models, rollout)
    service = start(models)
    reason = "instances were answered otherwise than by stable, more than max_disagreement 0.2 allows"
    asked = 0
    while "halted" not in read_policy(models)["rollout"]:
        ask(service.client, image(RANDOM.integers(0, 256)))
        asked += 1
        assert asked < 5000
    assert read_policy(models)["rollout"]["halted"].endswith(reason)
    assert {ask(service.client) for _ in range(40)} == {"1"}
    found = shadow(service)
    assert found["state"] == "halted"
    assert found["reason"].endswith(reason)
    service.wait_for_log("model brightness: the canary is halted: ")
    assert service.metric("atelier_canary_halted", model="brightness", version="2") == 1
    assert entry(service, 2)["state"] == "READY"
    assert service.stop() == 0

    again = start(models)
    assert {ask(again.client) for _ in range(40)} == {"1"}
    assert shadow(again)["reason"].endswith(reason)
    # A promotion resets the canary.
    assert command("promote", "brightness", "1", models=models)[0] == 0
    wait_until(lambda: "2" in {ask(again.client) for _ in range(20)})
    assert "halted" not in read_policy(models)["rollout"]


@pytest.mark.parametrize("workers", [1, 2])
def test_a_halt_applies_to_the_canary_that_was_tried_and_not_to_later_ones(start, models, workers):
    publish(models, 2, bias=500.0)
    publish(models, 3)
    rollout = {"shadow": {}, "rollback": {"max_disagreement": 0.2, "min_requests": 10}}
    write_policy(models, rollout)
    service = start(models, "--watch", "off", "--workers", str(workers))
    write_policy(models, rollout, stable=1, canary=3)
    for _ in range(20):
        ask(service.client, image(255))
    wait_until(lambda: shadow(service)["state"] == "halted")
    wait_until(lambda: "serving.json is unchanged: it names another canary or other limits" in service.log)
    assert shadow(service)["canary"] == "2"
    assert read_policy(models)["rollout"] == rollout
    service.client.post("/v2/repository/models/brightness/load").raise_for_status()
    assert (shadow(service)["canary"], shadow(service)["state"]) == ("3", "running")


def test_a_canary_that_fails_late_is_halted_soon_and_removing_the_halt_restarts_it(start, models):
    publish(models, 2)  # 150 is bright for version 1 and dark for version 2
    rollout = {"shadow": {}, "rollback": {"max_disagreement": 0.5, "min_requests": 10}}
    write_policy(models, rollout)
    service = start(models)

    def copies(level, count):
        before = shadow(service)["instances"]["compared"]
        for asked in range(count):
            ask(service.client, image(level))
            wait_until(lambda expected=before + asked + 1: shadow(service)["instances"]["compared"] == expected)

    copies(0, 200)
    bad = 0
    while shadow(service)["state"] == "running":
        copies(150, 1)
        bad += 1
    assert 10 <= bad < 130
    wait_until(lambda: "halted" in read_policy(models)["rollout"])
    write_policy(models, rollout)
    wait_until(lambda: shadow(service)["state"] == "running")
    assert shadow(service)["instances"] == {"compared": 0, "agreed": 0}
    copies(150, 5)
    assert shadow(service)["state"] == "running"


def test_too_many_errors_halt_the_canary(start, models):
    """The model fails on an index beyond its table."""
    write_fragile_model(models, version=1)
    write_fragile_model(models, version=2)
    write_policy(
        models,
        {"canary": {"percent": 100}, "rollback": {"max_error_rate": 0.1, "min_requests": 20}},
        name="fragile",
    )
    service = start(models)
    broken = service.client.get("/v2/models/fragile").json()["inputs"][0]
    body = {"inputs": [{"name": broken["name"], "shape": [1], "datatype": broken["datatype"], "data": [99]}]}
    codes = [ask(service.client, body, model="fragile") for _ in range(30)]
    assert codes[:20] == [500] * 20
    wait_until(lambda: "halted" in read_policy(models, "fragile")["rollout"])
    assert read_policy(models, "fragile")["rollout"]["halted"] == (
        "20 of 20 requests failed, more than max_error_rate 0.1 allows"
    )
    assert shadow(service, "fragile")["requests"] == {"count": 20, "errors": 20}


def test_after_its_promotion_there_is_no_canary(start, models):
    publish(models, 2)
    write_policy(models, {"canary": {"percent": 50}})
    service = start(models)
    service.client.post("/v2/repository/models/brightness/promote", json={"version": 2}).raise_for_status()
    assert {ask(service.client) for _ in range(30)} == {"2"}
    reply = service.client.get("/v2/models/brightness/shadow")
    assert reply.status_code == 404
    assert reply.json()["error"].startswith("model 'brightness' has no canary that serves alongside a stable version")
    assert serving(service) == ["2"]


@contextmanager
def asking(service, *, users=3):
    """Users send random requests continuously; yields (user, version or status code) of each answer."""
    got, done = [], threading.Event()

    def run(user):
        with httpx.Client(base_url=service.url, timeout=30) as own:
            while not done.is_set():
                got.append((user, ask(own, headers={"x-user": user})))

    threads = [threading.Thread(target=run, args=(f"user-{number}",)) for number in range(users)]
    for thread in threads:
        thread.start()
    try:
        wait_until(lambda: len(got) > 8)
        yield got
    finally:
        done.set()
        for thread in threads:
            thread.join()


@contextmanager
def upload(service, path, document):
    """Start a request whose body is too large for the parser to wait for; yields a function that ends it."""
    body = json.dumps(document).encode().ljust(200_000)
    host, port = service.url.removeprefix("http://").split(":")
    head = f"POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-length: {len(body)}\r\n\r\n"
    with socket.create_connection((host, int(port)), timeout=30) as connection:
        connection.sendall(head.encode() + body[:-1])

        def finish():
            connection.sendall(body[-1:])
            return int(connection.recv(4096).split()[1])

        yield finish


def test_while_versions_are_loaded_again_no_request_is_refused_and_every_user_keeps_a_version(start, models):
    publish(models, 2)
    write_policy(models, {"canary": {"percent": 50, "sticky_header": "x-user"}})
    service = start(models, "--watch", "off")
    policy = read_policy(models)
    with asking(service, users=6) as got:
        for change in ({"instances": 2}, {"batching": {"max_batch_size": 3}}):
            (models / "brightness" / "serving.json").write_text(json.dumps({**policy, **change}))
            service.client.post("/v2/repository/models/brightness/load").raise_for_status()
    assert {answer for _, answer in got} == {"1", "2"}
    assert len(set(got)) == 6


def test_requests_that_still_arrive_delay_no_promotion_and_are_answered_by_the_version_promoted(start, models):
    publish(models, 2)
    write_policy(models, {"canary": {"percent": 50}})
    service = start(models, "--watch", "off")
    pixels = {"instances": [[[0] * SIDE] * SIDE]}
    with (
        upload(service, "/v1/models/brightness/labels/stable:predict", pixels) as stable,
        upload(service, "/v2/models/brightness/infer", image()) as not_chosen,
    ):
        for _ in range(20):  # both have started before the last one
            ask(service.client)
        promoted = service.client.post("/v2/repository/models/brightness/promote", json={"version": 2})
        assert promoted.status_code == 200
        assert serving(service) == ["2"]
        assert {ask(service.client) for _ in range(40)} == {"2"}
        assert (stable(), not_chosen()) == (200, 200)


def test_shares_can_be_changed_while_requests_run(start, models):
    publish(models, 2)
    write_policy(models, {"canary": {"percent": 10}})
    service = start(models)
    with asking(service) as got:
        write_policy(models, {"canary": {"percent": 100}})
        wait_until(lambda: {ask(service.client) for _ in range(10)} == {"2"})
        before = shadow(service)["requests"]["count"]
        write_policy(models, {}, stable=1)
        wait_until(lambda: {ask(service.client) for _ in range(10)} == {"1"})
    assert before > 0
    assert {answer for _, answer in got} == {"1", "2"}


def test_a_canary_that_does_not_load_changes_nothing(start, models):
    write_policy(models, {"canary": {"percent": 100}, "shadow": {}})
    service = start(models)
    service.wait_for_log("label 'canary' names version 2, which does not serve")
    assert answers(service) == "1"
    assert service.client.get("/v2/models/brightness/shadow").status_code == 404
    assert service.client.get("/v2/models/nope/shadow").status_code == 404


@pytest.mark.parametrize(
    ("policy", "error"),
    [
        ({"rollout": {"canary": {}}}, "rollout.canary.percent is {}: Field required"),
        ({"rollout": {"canary": {"percent": 101}}}, "rollout.canary.percent is 101: Input should be less than"),
        ({"rollout": {"canary": {"percent": "5"}}}, "rollout.canary.percent is '5': Input should be a valid number"),
        ({"rollout": {"shadow": {"precent": 5}}}, "unknown key 'precent' in rollout.shadow; known: percent"),
        ({"rollout": {"rollback": {"max_error_rate": 2}}}, "rollout.rollback.max_error_rate is 2: "),
        (
            {"version_labels": {"stable": 1, "canary": 1}},
            "version_labels: stable and canary both name version 1; they must differ",
        ),
    ],
)
def test_mistakes_in_the_policy_are_reported_in_words(start, models, policy, error):
    service = start(models)
    path = models / "brightness" / "serving.json"
    path.write_text(json.dumps(policy))
    reply = service.client.post("/v2/repository/models/brightness/load")
    assert (reply.status_code, reply.json()["error"].startswith(f"{path}: {error}")) == (400, True), reply.text
    assert answers(service) == "1"


def test_the_key_header_of_a_canary_may_be_missing_in_grpc(start, models):
    publish(models, 2)
    write_policy(models, {"canary": {"percent": 50, "sticky_header": "x-user"}})
    service = start(models, "--grpc-port", "0")
    port = next(line for line in service.lines if "gRPC listens on" in line).split(":")[-1].split()[0]
    with triton_grpc.InferenceServerClient(f"127.0.0.1:{port}") as client:

        def version(**headers):
            given = triton_grpc.InferInput("pixels", [1, SIDE, SIDE], "UINT8")
            given.set_data_from_numpy(RANDOM.integers(0, 256, (1, SIDE, SIDE)).astype(np.uint8))
            return client.infer("brightness", [given], headers=headers).get_response().model_version

        assert {version() for _ in range(40)} == {"1", "2"}
        for user in "abcdef":
            assert len({version(**{"x-user": user}) for _ in range(5)}) == 1
        with pytest.raises(InferenceServerException):
            client.infer("nope", [triton_grpc.InferInput("pixels", [1], "UINT8")])
