"""What was tried and is not used still runs, and gives the right answers."""

import json
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import httpx
import numpy as np
import onnxruntime
import orjson
import pytest

from benchmarks.attempts.numpy_digits import by_numpy, by_simdjson
from benchmarks.attempts.sharing import command_of, environment_of, started
from benchmarks.serving.process import free_port
from tests.support.service import ROOT, own_environment, wait_until

BOOT = ROOT / "docs/examples/boot.json"


def test_numpy_reads_the_same_images_as_simdjson():
    images = np.random.default_rng(1).integers(0, 256, (5, 28, 28), np.uint8)
    bodies = [orjson.dumps({"instances": [image.tolist()]}) for image in images]
    assert np.array_equal(by_numpy(bodies), images.reshape(5, -1))
    assert np.array_equal(by_simdjson(bodies), images.reshape(5, -1))


def test_the_bare_server_answers_as_the_service_does():
    port = free_port()
    peers = ROOT / "benchmarks/serving/peers"
    [model] = (ROOT / "models/fashion-mnist-mlp").glob("*/model.onnx")
    environment = {**own_environment(), "PYTHONPATH": str(peers), "PEER_PORT": str(port), "PEER_MODEL": str(model)}
    command = [sys.executable, str(ROOT / "benchmarks/attempts/bare_server.py")]
    with subprocess.Popen(command, env=environment) as process:
        try:
            wait_until(lambda: _answers(port))
            body = BOOT.read_bytes()
            pixels = bytes(np.array(json.loads(body)["instances"][0], np.uint8))
            both = [httpx.post(f"http://127.0.0.1:{port}/", content=content).json() for content in (body, pixels)]
            assert both[0] == both[1]
            assert max(both[0]["predictions"][0]) == pytest.approx(0.8995, abs=1e-3)
        finally:
            process.terminate()


@pytest.fixture
def shared():
    """Two fronts and one owner of the model."""
    environment = {**own_environment(), **environment_of(ROOT / "models", "fashion-mnist-mlp")}
    with started(("front", "front", "owner"), environment) as parts:
        yield parts, environment


def test_one_owner_answers_all_fronts_as_the_bare_server_does(shared):
    parts, _ = shared
    images = np.random.default_rng(2).integers(0, 256, (200, 28, 28), np.uint8)
    [graph] = (ROOT / "models/fashion-mnist-mlp").glob("*/model.onnx")
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    expected = session.run(None, {session.get_inputs()[0].name: images})[0]

    def ask(row):
        reply = httpx.post(f"http://127.0.0.1:{parts.port}/", content=images[row].tobytes())
        return reply.status_code, reply.json()["predictions"][0]

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(ask, range(len(images))))
    assert {code for code, _ in answers} == {200}
    assert np.allclose([row for _, row in answers], expected, atol=1e-5)


def test_a_front_that_ends_loses_its_own_requests_alone(shared):
    parts, _ = shared
    parts.processes["front 1"].kill()
    parts.processes["front 1"].wait(10)
    codes = [httpx.post(f"http://127.0.0.1:{parts.port}/", content=bytes(28 * 28)).status_code for _ in range(20)]
    assert codes == [200] * 20


def test_what_an_owner_had_is_answered_with_503_and_the_next_owner_goes_on(shared):
    parts, environment = shared
    owner = parts.processes["owner 3"]
    owner.send_signal(signal.SIGSTOP)  # so that the request waits for it
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(httpx.post, f"http://127.0.0.1:{parts.port}/", content=bytes(28 * 28), timeout=30)
        wait_until(waiting.running)
        owner.kill()
        owner.wait(10)
        assert waiting.result().status_code == 503
    place = parts.stats["owner 3"].parent
    parts.start("owner 3", command_of("owner", "owner 3", parts.port, place), environment)
    wait_until(lambda: all(_answers(parts.port) for _ in range(8)))


def _answers(port):
    try:
        return httpx.post(f"http://127.0.0.1:{port}/", content=bytes(28 * 28)).status_code == 200
    except httpx.TransportError:
        return False
