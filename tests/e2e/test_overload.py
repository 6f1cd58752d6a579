"""A model with more requests than it can answer: some are refused immediately, other models are not delayed."""

import json
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.support.service import Service, wait_until
from tests.support.tiny_models import write_brightness_model, write_slow_model

SLOW = "/v1/models/slow:predict"
BUSY = {"instances": [1]}


@pytest.fixture
def service(tmp_path):
    write_slow_model(tmp_path)
    write_brightness_model(tmp_path)
    (tmp_path / "slow" / "serving.json").write_text('{"batching": {"max_queue_s": 0.2}}')
    service = Service(tmp_path)
    service.client.post(SLOW, json=BUSY)  # so that its latency is measured
    yield service
    assert service.stop() == 0


def flood(service, count, *, path=SLOW, document=None):
    """Status codes and documents of simultaneous requests, each over its own connection."""
    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(lambda _: service.client.post(path, json=document or BUSY), range(count)))


def test_a_request_that_would_wait_longer_than_the_queue_limit_is_refused_with_the_estimate(service):
    replies = flood(service, 24)
    codes = [reply.status_code for reply in replies]
    assert codes.count(200) >= 1
    refused = [reply for reply in replies if reply.status_code == 429]
    assert len(refused) >= 12
    for reply in refused:
        assert "more than max_queue_s=0.2; try again" in reply.json()["error"]
        assert int(reply.headers["retry-after"]) >= 1
    assert service.metric("atelier_requests_total", model="slow", code="429") == len(refused)


def head(length, *, path=SLOW, extra=b""):
    return b"POST %b HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n%bContent-Length: %d\r\n\r\n" % (
        path.encode(),
        extra,
        length,
    )


def reply_of(line):
    data = b""
    while b"\r\n\r\n" not in data:
        data += line.recv(65_536)
    top, _, body = data.partition(b"\r\n\r\n")
    length = int(top.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
    while len(body) < length:
        body += line.recv(65_536)
    return int(top.split()[1]), json.loads(body)


def test_a_refusal_is_sent_before_the_body_and_the_connection_stays_open(service):
    address = service.client.base_url.host, service.client.base_url.port
    ended = threading.Event()

    def keep_busy():
        while not ended.is_set():
            service.client.post(SLOW, json=BUSY)

    with ThreadPoolExecutor(8) as pool, socket.create_connection(address, timeout=30) as line:
        for _ in range(8):
            pool.submit(keep_busy)
        try:

            def refused_early():
                line.sendall(head(16))
                line.settimeout(0.1)
                try:
                    status, _ = reply_of(line)
                except TimeoutError:
                    status = 0
                line.settimeout(30)
                line.sendall(b'{"instances":[1]')
                if status == 0:  # it is admitted and waits for the body
                    reply_of(line)
                return status == 429

            wait_until(refused_early)
            line.sendall(head(17, path="/v1/models/brightness:predict") + b'{"instances":[1]}')
            status, document = reply_of(line)
            assert status == 400, document  # read, and found to have another shape
        finally:
            ended.set()


def test_another_model_is_answered_soon_while_one_is_flooded(service):
    rows = {"instances": [[[7] * 4] * 4]}
    path = "/v1/models/brightness:predict"
    ended = threading.Event()

    def keep_busy():
        while not ended.is_set():
            service.client.post(SLOW, json=BUSY)

    with ThreadPoolExecutor(16) as pool:
        for _ in range(16):
            pool.submit(keep_busy)
        try:
            wait_until(lambda: service.metric("atelier_requests_total", model="slow", code="429") > 20)
            waits = []
            for _ in range(50):
                started = time.monotonic()
                assert service.client.post(path, json=rows).status_code == 200
                waits.append(time.monotonic() - started)
        finally:
            ended.set()
    # One batch of the slow model takes longer than that.
    assert sorted(waits)[25] < 0.5


def test_a_timeout_counts_from_the_first_byte(tmp_path, start):
    write_brightness_model(tmp_path)
    (tmp_path / "brightness" / "serving.json").write_text('{"batching": {"default_timeout_ms": 300}}')
    service = start(tmp_path)
    address = service.client.base_url.host, service.client.base_url.port
    body = json.dumps({"instances": [[[7] * 4] * 4]}).encode()
    with socket.create_connection(address, timeout=30) as line:
        line.sendall(head(len(body), path="/v1/models/brightness:predict"))
        time.sleep(0.5)
        line.sendall(body)
        status, document = reply_of(line)
    assert status == 504
    assert document == {"error": "the timeout of 300 ms passed while the request waited"}
