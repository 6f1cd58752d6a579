"""Start, refuse, drain, stop."""

import json
import shutil
import signal
import socket
import threading
import time

import httpx
import pytest

from tests.support.bare_connection import last_replies, under_way
from tests.support.service import Service, wait_until
from tests.support.tiny_models import flip_one_weight, write_brightness_model, write_fragile_model, write_slow_model

GOOD = {"instances": [[[200] * 4] * 4]}
SLOW = "/v1/models/slow:predict"


def status(service, model="brightness"):
    return {
        entry["version"]: (entry["state"], entry["status"]["error_message"])
        for entry in service.client.get(f"/v1/models/{model}").json()["model_version_status"]
    }


def scrape(service):
    return service.client.get("/metrics").text


def test_the_newest_version_serves(tmp_path, start):
    write_brightness_model(tmp_path, version=1)
    write_brightness_model(tmp_path, version=10, bias=50)
    write_brightness_model(tmp_path, version=9, bias=20)
    service = start(tmp_path)
    assert status(service) == {"10": ("AVAILABLE", "")}
    metadata = service.client.get("/v1/models/brightness/metadata").json()
    assert metadata["model_spec"] == {"name": "brightness", "signature_name": "", "version": "10"}


def test_the_log_says_that_the_service_is_ready_only_after_its_models_are_loaded(tmp_path, start):
    write_brightness_model(tmp_path)
    log = start(tmp_path).log
    assert "startup" not in log
    assert "running on http" in log


def test_one_flipped_weight_is_refused_by_the_golden_gate_and_the_older_version_serves(tmp_path, start):
    write_brightness_model(tmp_path, version=1)
    flip_one_weight(write_brightness_model(tmp_path, version=2), "weights")
    service = start(tmp_path)
    states = status(service)
    assert states["1"] == ("AVAILABLE", "")
    assert states["2"][0] == "END"
    assert "differs from Keras by" in states["2"][1]
    service.wait_for_log("version 2 refused: golden row")
    assert service.client.post("/v1/models/brightness:predict", json=GOOD).status_code == 200
    reply = service.client.post("/v1/models/brightness/versions/2:predict", json=GOOD)
    assert reply.status_code == 503
    assert "differs from Keras" in reply.json()["error"]


def damage_nothing_but_the_manifest(directory):
    (directory / "manifest.json").write_text("{}")


def cut_the_graph_short(directory):
    path = directory / "model.onnx"
    path.write_bytes(path.read_bytes()[:-1])


def change_one_byte(directory):
    path = directory / "model.onnx"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def remove_the_golden_samples(directory):
    (directory / "golden.npz").unlink()


def add_a_file(directory):
    (directory / "notes.txt").write_text("x")


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (damage_nothing_but_the_manifest, "manifest.json"),
        (cut_the_graph_short, "the manifest says"),
        (change_one_byte, "sha256"),
        (remove_the_golden_samples, "golden.npz is in the manifest but not on disk"),
        (add_a_file, "notes.txt is on disk but not in the manifest"),
    ],
)
def test_a_damaged_version_is_refused_and_the_others_serve(tmp_path, start, damage, reason):
    damage(write_brightness_model(tmp_path))
    write_fragile_model(tmp_path)
    service = start(tmp_path)
    (state, message) = status(service)["1"]
    assert state == "END"
    assert reason in message
    assert service.client.post("/v1/models/fragile:predict", json={"instances": [2]}).status_code == 200


def test_a_half_copied_directory_does_not_exist(tmp_path, start):
    write_brightness_model(tmp_path)
    (tmp_path / "brightness" / "2").mkdir()
    (tmp_path / "brightness" / "2" / "model.onnx").write_bytes(b"half")
    (tmp_path / "brightness" / "02").mkdir()
    assert status(start(tmp_path)) == {"1": ("AVAILABLE", "")}


def test_an_unknown_key_in_serving_json_is_refused(tmp_path, start):
    directory = write_brightness_model(tmp_path)
    (directory.parent / "serving.json").write_text('{"batching": {"max_batch_siez": 4}}')
    write_fragile_model(tmp_path)
    assert "unknown key 'max_batch_siez' in batching" in status(start(tmp_path))["1"][1]


def test_without_any_model_the_service_lives_and_is_not_ready(tmp_path, start):
    service = start(tmp_path, wait_ready=False)
    deadline = time.monotonic() + 10
    while "no model version could be loaded" not in (reply := service.client.get("/v2/health/ready")).text:
        assert time.monotonic() < deadline, reply.text
        time.sleep(0.02)
    assert reply.status_code == 503
    assert service.client.get("/v2/health/live").json() == {"live": True}


@pytest.mark.parametrize("sig", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_process_with_0(tiny_models, sig):
    assert Service(tiny_models).stop(sig) == 0


def test_a_request_under_way_at_sigterm_is_answered(tiny_models):
    service = Service(tiny_models)
    body = json.dumps(GOOD).encode()
    host, port = service.url.removeprefix("http://").split(":")
    head = f"POST /v1/models/brightness:predict HTTP/1.1\r\nhost: localhost\r\ncontent-length: {len(body)}\r\n\r\n"
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(head.encode() + body[:10])
        time.sleep(0.2)
        code = []
        stopping = threading.Thread(target=lambda: code.append(service.stop()))
        stopping.start()
        time.sleep(0.3)
        connection.sendall(body[10:])
        reply = connection.recv(4096)
    stopping.join()
    assert reply.startswith(b"HTTP/1.1 200"), reply
    assert code == [0]


def test_work_that_outlasts_the_shutdown_time_is_answered_503(tmp_path, start):
    write_slow_model(tmp_path, multiplications=20)
    service = start(tmp_path, "--shutdown-timeout-s", "1")
    lines = under_way(service, SLOW, {"instances": [1]}, times=8)
    assert service.stop() == 0
    replies = last_replies(lines)
    assert {code for code, _ in replies} <= {200, 503}
    refused = next(document for code, document in replies if code == 503)
    assert refused == {"error": "the service shut down before this request was answered"}


def test_a_call_that_does_not_return_delays_neither_an_unload_nor_the_shutdown(tmp_path, start):
    write_slow_model(tmp_path, multiplications=400)  # a minute
    (tmp_path / "slow" / "serving.json").write_text('{"instances": 2}')  # never on the event loop
    service = start(tmp_path, "--shutdown-timeout-s", "1")

    def ask_thrice():
        lines = under_way(service, SLOW, {"instances": [1]}, times=3)
        wait_until(lambda: service.metric("atelier_queued_rows", model="slow") == 1)
        return lines

    lines = ask_thrice()
    assert service.client.post("/v2/repository/models/slow/unload").status_code == 200
    service.wait_for_log("still runs a batch")
    gone = "model 'slow' version 1 was unloaded before this request was answered; try again"
    assert last_replies(lines) == [(503, {"error": gone})] * 3
    assert service.client.post("/v2/repository/models/slow/load").status_code == 200
    lines = ask_thrice()
    started = time.monotonic()
    assert service.stop() == 0
    assert time.monotonic() - started < 25
    assert [code for code, _ in last_replies(lines)] == [503] * 3


def test_ready_turns_false_before_the_socket_closes(tiny_models):
    service = Service(tiny_models, "--drain-delay-s", "1")
    service.process.send_signal(signal.SIGTERM)
    time.sleep(0.3)
    ready = httpx.get(service.url + "/v2/health/ready")
    assert (ready.status_code, ready.json()) == (503, {"error": "the service is shutting down"})
    answer = httpx.post(service.url + "/v1/models/brightness:predict", json=GOOD)
    assert answer.status_code == 200
    assert service.stop() == 0


def test_a_port_in_use_ends_with_a_message(tiny_models):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(AssertionError, match="choose another port with --port"):
            Service(tiny_models, "--port", str(taken.getsockname()[1]))


def test_json_log_lines_are_json(tiny_models):
    service = Service(tiny_models, "--log-format", "json")
    service.stop()
    lines = [json.loads(line) for line in service.lines]
    assert any("model words version 1 ready" in line["message"] for line in lines)


def test_clients_that_leave_do_not_stop_the_service(tiny):
    host, port = tiny.base_url.host, tiny.base_url.port
    for cut in (1, 40, 80):
        with socket.create_connection((host, port)) as connection:
            connection.sendall(
                b"POST /v1/models/words:predict HTTP/1.1\r\nhost: localhost\r\ncontent-length: 99\r\n\r\n{}"[:cut]
            )
    assert tiny.post("/v1/models/brightness:predict", json=GOOD).status_code == 200


def test_models_stay_loaded_when_their_directory_vanishes(tmp_path, start):
    write_brightness_model(tmp_path / "models")
    service = start(tmp_path / "models")
    shutil.rmtree(tmp_path / "models")
    assert service.client.post("/v1/models/brightness:predict", json=GOOD).status_code == 200
