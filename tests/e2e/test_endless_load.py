"""A load that does not end affects only its own model: not the other models, readiness or shutdown."""

import json
import socket
import time

import pytest

from tests.support.service import wait_until
from tests.support.tiny_models import write_brightness_model, write_endless_model, write_rule_model, write_words_model


def states(service):
    return {
        (line["name"], line["version"]): (line["state"], line.get("reason", ""))
        for line in service.client.post("/v2/repository/index").json()
    }


def is_ready(service, name, version="1"):
    return states(service).get((name, version), ("",))[0] == "READY"


def test_ready_waits_for_it_no_longer_than_the_timeout(start, tmp_path):
    write_endless_model(tmp_path, name="a-endless")
    write_brightness_model(tmp_path)
    write_words_model(tmp_path)
    service = start(tmp_path, wait_ready=False, environment={"ATELIER_LOAD_TIMEOUT_S": "10"})
    wait_until(lambda: is_ready(service, "brightness") and is_ready(service, "words"))
    assert states(service)["a-endless", "1"][0] == "LOADING"
    assert service.client.get("/healthz").status_code == 503
    service.wait_until_ready()
    state, reason = states(service)["a-endless", "1"]
    assert state == "UNAVAILABLE"
    assert reason.startswith("did not finish loading within 10 s (ATELIER_LOAD_TIMEOUT_S)")
    service.wait_for_log("model a-endless version 1 refused: did not finish loading within 10 s")
    started = time.monotonic()
    assert service.stop() == 0
    assert time.monotonic() - started < 25


@pytest.mark.parametrize("workers", ["1", "2"])
def test_other_models_load_and_follow_during_it_and_the_service_ends_in_time(start, tmp_path, workers):
    """Also with a client waiting for the load, and with one that has left."""
    models = tmp_path / "models"
    write_endless_model(models, name="a-endless")
    write_brightness_model(models)
    service = start(models, "--workers", workers, wait_ready=False)
    wait_until(lambda: is_ready(service, "brightness"))
    write_words_model(tmp_path / "elsewhere").parent.rename(models / "words")
    write_brightness_model(tmp_path / "elsewhere", version=2).rename(models / "brightness" / "2")
    if workers == "1":
        wait_until(lambda: is_ready(service, "words") and is_ready(service, "brightness", "2"))
        write_rule_model(tmp_path / "elsewhere").parent.rename(models / "rule")
        assert service.client.post("/v2/repository/models/rule/load").status_code == 200
    waiting = [
        socket.create_connection((service.client.base_url.host, service.client.base_url.port), timeout=30)
        for _ in range(2)
    ]
    for line in waiting:
        line.sendall(
            b"POST /v2/repository/models/a-endless/load HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n"
        )
    time.sleep(0.5)
    waiting[0].close()
    started = time.monotonic()
    assert service.stop() == 0
    assert time.monotonic() - started < 25
    answer = waiting[1].recv(65_536)
    waiting[1].close()
    if workers == "1":
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert json.loads(answer.partition(b"\r\n\r\n")[2]) == {"error": "the service is shutting down"}
    assert "Traceback" not in service.log


def test_a_first_request_whose_load_does_not_end_holds_up_no_other_model_nor_shutdown(start, tmp_path):
    write_endless_model(tmp_path, name="a-endless")
    write_brightness_model(tmp_path)
    service = start(tmp_path, "--load-models", "on-request", "--model-memory-limit-mb", "100")
    place = (service.client.base_url.host, service.client.base_url.port)
    request = b"POST /v1/models/a-endless:predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}"
    waiting = [socket.create_connection(place, timeout=30) for _ in range(2)]
    for line in waiting:
        line.sendall(request)
    wait_until(lambda: states(service)["a-endless", "1"][0] == "LOADING")
    waiting[0].close()
    reply = service.client.post("/v1/models/brightness:predict", json={"instances": [[[0] * 4] * 4]})
    assert reply.status_code == 200, reply.text
    assert service.client.get("/healthz").status_code == 200
    started = time.monotonic()
    assert service.stop() == 0
    assert time.monotonic() - started < 25
    assert waiting[1].recv(65_536).startswith(b"HTTP/1.1 503 ")
    waiting[1].close()
    assert "Traceback" not in service.log
