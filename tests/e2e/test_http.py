"""HTTP itself, byte for byte over a socket: what a client that is no library would see."""

import socket
import subprocess

import pytest

from tests.support.tiny_models import SIDE

PATH = "/v1/models/brightness:predict"
BODY = bytes(SIDE * SIDE)
OCTETS = "Content-Type: application/octet-stream\r\n"


def request(extra="", *, method="POST", path=PATH, version="1.1", body=BODY):
    head = f"{method} {path} HTTP/{version}\r\nHost: localhost\r\n{extra}Content-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


@pytest.fixture
def connection(tiny):
    """A connection, as a file."""
    address = (tiny.base_url.host, tiny.base_url.port)
    with socket.create_connection(address, timeout=10) as plain, plain.makefile("rwb") as file:
        yield file


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


def test_a_client_that_wants_the_connection_closed_gets_that(connection):
    send(connection, request(OCTETS + "Connection: close\r\n"))
    status, headers, _ = reply(connection)
    assert (status, headers["connection"]) == (200, "close")
    assert connection.read() == b""


def test_http_1_0_is_answered_and_closed(connection):
    send(connection, request(OCTETS, version="1.0"))
    status, headers, _ = reply(connection)
    assert (status, headers["connection"]) == (200, "close")
    assert connection.read() == b""


def test_a_client_that_asks_first_is_told_to_continue(connection):
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


def test_what_is_no_http_gets_400_and_the_service_goes_on(tiny, connection):
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
