"""What was tried and is not used still runs, and gives the right answers."""

import json
import subprocess
import sys

import httpx
import numpy as np
import orjson
import pytest

from benchmarks.attempts.numpy_digits import by_numpy, by_simdjson
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


def _answers(port):
    try:
        return httpx.post(f"http://127.0.0.1:{port}/", content=bytes(28 * 28)).status_code == 200
    except httpx.TransportError:
        return False
