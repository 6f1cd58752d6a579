"""HTTP itself, byte for byte over a socket, without a client library."""

import signal
import socket
import subprocess
import time
from contextlib import contextmanager

import pytest

from app.edge.connection.guarded import HALF_CLOSE_WITHIN_S
from tests.support.service import Service, wait_until
from tests.support.tiny_models import SIDE, write_slow_model

PATH = "/v1/models/brightness:predict"
BODY = bytes(SIDE * SIDE)
OCTETS = "Content-Type: application/octet-stream\r\n"
JSON = "Content-Type: application/json\r\n"


def request(extra="", *, method="POST", path=PATH, version="1.1", body=BODY):
    head = f"{method} {path} HTTP/{version}\r\nHost: localhost\r\n{extra}Content-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


@contextmanager
def connect(url):
    """A connection, as a file."""
    with socket.create_connection((url.host, url.port), timeout=10) as plain, plain.makefile("rwb") as file:
        yield file


@pytest.fixture
def connection(tiny):
    with connect(tiny.base_url) as file:
        yield file


@pytest.fixture
def slow(tmp_path):
    """A service whose model takes some tenths of a second for each row, and which has measured that."""
    write_slow_model(tmp_path)
    service = Service(tmp_path)
    assert service.client.post("/v1/models/slow:predict", content=b'{"instances": [1]}').status_code == 200
    yield service
    if service.process.returncode is None:
        assert service.stop() == 0


BUSY = request(JSON, path="/v1/models/slow:predict", body=b'{"instances": [1]}')


def reply(connection):
    """Status, headers and body of the next reply on a connection."""
    status = connection.readline().split(b" ", 2)[1]
    headers = {}
    while (line := connection.readline().strip()) != b"":
        name, _, value = line.partition(b": ")
        assert name not in headers
        headers[name.decode()] = value.decode()
    return int(status), headers, connection.read(int(headers["content-length"]))


def send(connection, *requests):
    connection.write(b"".join(requests))
    connection.flush()


def test_a_connection_is_kept_for_the_next_request(connection):
    for _ in range(3):
        send(connection, request(OCTETS))
        status, headers, body = reply(connection)
        assert (status, "connection" in headers) == (200, False)
        assert body.startswith(b'{"predictions":[[')


def test_requests_sent_ahead_are_answered_in_their_order(connection):
    send(connection, request(OCTETS), request(method="GET", path="/v1/models", body=b""), request(OCTETS, body=b"x"))
    assert [reply(connection)[0] for _ in range(3)] == [200, 200, 400]


def test_a_client_can_request_that_the_connection_is_closed(connection):
    send(connection, request(OCTETS + "Connection: close\r\n"))
    status, headers, _ = reply(connection)
    assert (status, headers["connection"]) == (200, "close")
    assert connection.read() == b""


def test_http_1_0_is_answered_and_closed(connection):
    send(connection, request(OCTETS, version="1.0"))
    status, headers, _ = reply(connection)
    assert (status, headers["connection"]) == (200, "close")
    assert connection.read() == b""


def test_expect_continue_is_answered_with_100_continue(connection):
    whole = request(OCTETS + "Expect: 100-continue\r\n")
    head, body = whole[: -len(BODY)], whole[-len(BODY) :]
    send(connection, head)
    assert connection.readline() == b"HTTP/1.1 100 Continue\r\n"
    assert connection.readline() == b"\r\n"
    send(connection, body)
    assert reply(connection)[0] == 200


def test_a_body_in_chunks(connection):
    head = f"POST {PATH} HTTP/1.1\r\nHost: localhost\r\n{OCTETS}Transfer-Encoding: chunked\r\n\r\n".encode()
    send(connection, head, b"8\r\n" + BODY[:8] + b"\r\n8\r\n" + BODY[8:] + b"\r\n0\r\n\r\n")
    assert reply(connection)[0] == 200


def test_a_head_request_has_the_length_and_no_body(connection):
    send(connection, request(method="HEAD", path="/docs/assets/swagger-ui.css", body=b""))
    assert connection.readline().startswith(b"HTTP/1.1 200")
    headers = dict(line.strip().split(b": ", 1) for line in iter(connection.readline, b"\r\n"))
    assert int(headers[b"content-length"]) > 1000
    send(connection, request(OCTETS))
    assert reply(connection)[0] == 200


def test_a_large_reply_arrives_whole(connection):
    send(connection, request(OCTETS, body=BODY * 4000))
    status, headers, body = reply(connection)
    assert (status, body.count(b"[")) == (200, 4001)
    assert int(headers["content-length"]) == len(body) > 30_000


def test_bytes_that_are_not_http_get_400_and_the_service_continues(tiny, connection):
    send(connection, b"\x16\x03\x01 not http\r\n\r\n")
    assert connection.readline().startswith(b"HTTP/1.1 400")
    assert tiny.get("/v2/health/live").status_code == 200


def test_curl_sends_a_large_body_after_asking(tiny):
    done = subprocess.run(
        [
            "curl",
            "-s",
            "-H",
            "Expect: 100-continue",
            "-H",
            OCTETS.strip(),
            "--data-binary",
            "@-",
            f"{tiny.base_url}{PATH}",
        ],
        input=BODY * 1000,
        capture_output=True,
        check=True,
        timeout=30,
    )
    assert done.stdout.count(b"[") == 1001


def test_a_body_that_comes_in_pieces(connection):
    whole = request(OCTETS)
    for place in range(0, len(whole), 7):
        send(connection, whole[place : place + 7])
        time.sleep(0.001)
    assert reply(connection)[0] == 200


def spacious(size):
    """A JSON body of ``size`` bytes, most of them spaces."""
    return b'{"instances": [%s]}' % str([[0] * SIDE] * SIDE).encode().ljust(size - 17)


@pytest.mark.parametrize("size", [65_535, 65_536, 65_537, 500_000])
def test_small_and_large_bodies_on_one_connection(connection, size):
    for body, expected in ((spacious(size), 200), (spacious(100), 200), (spacious(size)[:-1], 400)):
        send(connection, request(JSON, body=body))
        assert reply(connection)[0] == expected


def test_a_large_body_and_the_next_request_in_one_packet(connection):
    send(connection, request(JSON, body=spacious(300_000)), request(OCTETS), request(OCTETS, body=BODY * 3000))
    assert [reply(connection)[2].count(b"[") for _ in range(3)] == [2, 2, 3001]


def test_a_body_announced_too_large_is_refused_before_it_arrives(connection):
    head = f"POST {PATH} HTTP/1.1\r\nHost: localhost\r\n{OCTETS}Content-Length: 99999999999\r\n\r\n"
    send(connection, head.encode() + bytes(100_000))
    status, _, body = reply(connection)
    assert (status, b"99999999999 bytes" in body) == (413, True)


def test_a_path_in_percent_signs(connection):
    send(connection, request(OCTETS, path="/v1/models/bright%6Eess%3Apredict"))
    assert reply(connection)[0] == 200


def test_an_idle_connection_is_closed_and_a_busy_one_is_not(connection, tiny):
    with connect(tiny.base_url) as busy:
        send(connection, request(OCTETS))
        assert reply(connection)[0] == 200
        idle_since = time.monotonic()
        while time.monotonic() < idle_since + 6:
            send(busy, request(OCTETS))
            assert reply(busy)[0] == 200
            time.sleep(0.5)
        assert connection.read() == b""
        send(busy, request(OCTETS))
        assert reply(busy)[0] == 200


def test_a_request_that_takes_its_time_to_arrive_is_waited_for(connection):
    send(connection, request(OCTETS))
    assert reply(connection)[0] == 200
    whole = request(OCTETS)
    send(connection, whole[:30])
    time.sleep(6)
    send(connection, whole[30:])
    assert reply(connection)[0] == 200


def test_the_request_of_a_client_that_left_is_removed_from_the_queue(tmp_path, start):
    write_slow_model(tmp_path, multiplications=80)  # a row takes longer than three clients stay
    slow = start(tmp_path)
    assert slow.client.post("/v1/models/slow:predict", content=b'{"instances": [1]}').status_code == 200
    with connect(slow.client.base_url) as first:
        send(first, BUSY)
        wait_until(lambda: slow.metric("atelier_queued_rows", model="slow") == 0)
        for _ in range(3):
            with connect(slow.client.base_url) as leaving:
                send(leaving, BUSY)
                wait_until(lambda: slow.metric("atelier_queued_rows", model="slow") > 0)
                time.sleep(2 * HALF_CLOSE_WITHIN_S)  # earlier, the end of its stream may be a half-close
        wait_until(lambda: slow.metric("atelier_requests_total", model="slow", code="499") == 3)
        wait_until(lambda: slow.metric("atelier_dropped_rows_total", model="slow", reason="cancelled") == 3)
        assert reply(first)[0] == 200


def test_requests_under_way_at_sigterm_are_answered_and_their_connections_closed(slow):
    with connect(slow.client.base_url) as one, connect(slow.client.base_url) as idle:
        send(idle, request(method="GET", path="/v2/health/live", body=b""))
        assert reply(idle)[0] == 200
        send(one, BUSY)
        wait_until(lambda: slow.metric("atelier_queued_rows", model="slow") == 0)
        slow.process.send_signal(signal.SIGTERM)
        assert idle.read() == b""
        status, headers, _ = reply(one)
        assert (status, headers["connection"], one.read()) == (200, "close", b"")
        assert slow.stop() == 0
