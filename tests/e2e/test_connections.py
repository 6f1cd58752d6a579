"""Limits of one connection: heads, bodies, framings, offers of another protocol, and time."""

import gzip
import json
import re
import select
import signal
import socket
import struct
from contextlib import ExitStack

import httpx
import pytest

from tests.support.bare_connection import PATH, Line, head
from tests.support.service import Service, running, wait_until
from tests.support.tiny_models import SIDE, write_slow_model, write_verse_model

BODY = bytes(SIDE * SIDE)
LIVE = b"GET /v2/health/live HTTP/1.1\r\nHost: localhost\r\n\r\n"
UPGRADES = {
    "curl --http2": "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n",
    "Java HttpClient": "Connection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAEAAEAAAAIAAAAB\r\nUpgrade: h2c\r\n",
    "websocket": "Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n",
    "any": "connection: upgrade\r\nupgrade: foo/2\r\n",
}
BOUNDS = {
    "ATELIER_HEAD_TIMEOUT_S": "1",
    "ATELIER_BODY_TIMEOUT_S": "1",
    "ATELIER_BODY_RATE_BYTES": "400000",
    "ATELIER_SEND_TIMEOUT_S": "1",
    "ATELIER_KEEP_ALIVE_S": "60",
    "ATELIER_BODIES_LIMIT_BYTES": "3000000",
    "ATELIER_BODY_LIMIT_BYTES": "2000000",
    "ATELIER_MAX_CONNECTIONS": "24",
}


@pytest.fixture(scope="module")
def bounded(tiny_models):
    """A service with limits that a test can reach."""
    yield from running(Service(tiny_models, environment=BOUNDS))


@pytest.fixture
def line(tiny):
    with Line(tiny.base_url) as line:
        yield line


# Offers of another protocol


@pytest.mark.parametrize("packets", ["together", "apart"])
@pytest.mark.parametrize("headers", UPGRADES.values(), ids=UPGRADES)
def test_an_offer_of_another_protocol_is_ignored_and_the_body_is_read(line, headers, packets):
    top = head(headers)
    line.send(top + BODY) if packets == "together" else line.send(top, BODY)
    assert line.reply()[0] == 200
    assert line.is_silent()
    assert line.send(LIVE).reply() == (200, {"live": True})


@pytest.mark.parametrize("headers", UPGRADES.values(), ids=UPGRADES)
def test_a_body_after_an_upgrade_offer_is_never_read_as_a_request(line, headers):
    line.send(head(headers, length=len(LIVE)), LIVE)
    status, document = line.reply()
    assert status == 400
    assert "is not a whole number of instances" in document["error"]
    assert line.is_silent()


@pytest.mark.parametrize("headers", UPGRADES.values(), ids=UPGRADES)
def test_a_get_with_an_upgrade_offer_is_answered_once(line, headers):
    line.send(f"GET /v2/health/live HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n".encode())
    assert line.reply() == (200, {"live": True})
    assert line.is_silent()


def test_an_upgrade_offer_in_pieces_before_a_chunked_body_and_behind_another_request(line):
    chunked = head("Transfer-Encoding: chunked\r\nConnection: Upgr", length=None)[:-2]
    body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY)
    line.send(LIVE + chunked, b"ade\r\nUpg", b"rade: h2c\r\n\r\n", body[:7], body[7:] + LIVE)
    assert [line.reply()[0] for _ in range(3)] == [200, 200, 200]
    assert line.is_silent()


# Framing


@pytest.mark.parametrize(
    ("packet", "message"),
    [
        (head("Transfer-Encoding: chunked\r\n") + b"0\r\n\r\n", "can't be present with"),
        (head("Content-Length: 3\r\n") + BODY, "Duplicate Content-Length"),
        (head("Host: other\r\n") + BODY, "the request has 2 Host headers; send one"),
        (head().replace(b"Host: localhost\r\n", b"") + BODY, "the request has 0 Host headers; send one"),
        (head("Transfer-Encoding: chunked\r\n", length=None) + b"zz\r\n", "chunk size"),
        (head("Transfer-Encoding: chunked\r\n", length=None) + b"4\r\nabcdefg\r\n", "chunk"),
        (head(length=-1), "Invalid character in Content-Length"),
        (head(length="1_6") + BODY, "Invalid character in Content-Length"),
        (head("X : y\r\n") + BODY, "Invalid header token"),
        (b"GET / HTTP/1.1\nHost: x\n\n", "CRLF"),
        (head("Transfer-Encoding: chunked\r\n", version="1.0", length=None) + b"0\r\n\r\n", "no Transfer-Encoding"),
    ],
)
def test_an_ambiguous_framing_is_refused_and_the_connection_closed(line, packet, message):
    status, document = line.send(packet + LIVE).reply()
    assert status == 400
    assert message in document["error"]
    assert line.reply() is None


@pytest.mark.parametrize(
    "coding",
    [
        "Transfer-Encoding: gzip, chunked\r\n",
        "Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked; q=1\r\nTransfer-Encoding: chunked\r\n",
    ],
)
def test_a_transfer_coding_that_is_not_undone_is_not_implemented(line, coding):
    status, document = line.send(
        head(coding, length=None) + b"%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY) + LIVE
    ).reply()
    assert status == 501
    assert "only chunked is supported, once" in document["error"]
    assert line.reply() is None


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:80", "[::1]"])
def test_the_host_of_a_whole_url_counts_and_not_the_header(tiny, host):
    def ask(target_host, header):
        with Line(tiny.base_url) as line:
            path = f"http://{target_host}/v2/models/brightness"
            return line.send(f"GET {path} HTTP/1.1\r\nHost: {header}\r\n\r\n".encode()).reply()

    assert ask(host, "evil")[0] == 200
    for evil in ("evil", "evil:80"):
        status, document = ask(evil, "localhost")
        assert status == 403
        assert f"the Host header is {evil!r}" in document["error"]
    for invalid in (f"{host}@evil", f"evil:80@{host}", f"{host}:80:80", ""):  # the parser refuses some of them
        assert ask(invalid, "localhost")[0] in {400, 403}


def test_the_host_of_a_whole_url_counts_for_inference_too(line):
    assert line.send(head(path=f"http://localhost{PATH}") + BODY).reply()[0] == 200
    assert line.send(head(path=f"http://evil{PATH}") + BODY).reply()[0] == 403


def test_a_length_of_very_many_digits_is_named(line):
    status, document = line.send(head(length=f"{'0' * 5_000}{len(BODY)}") + BODY).reply()
    assert status == 400
    assert document["error"].startswith("Unable to parse Content-Length, got: ")
    assert line.send(LIVE).reply() == (200, {"live": True})


def test_http_2_and_connect_are_refused(tiny):
    for packet, code in [(head(version="2.0"), 505), (b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n", 405)]:
        with Line(tiny.base_url) as line:
            assert line.send(packet).reply()[0] == code
            assert line.reply() is None


def test_after_the_last_request_of_a_connection_nothing_is_read(line):
    line.send(head("Connection: close\r\n") + BODY + LIVE)
    assert line.reply()[0] == 200
    assert line.reply() is None


@pytest.mark.parametrize("one", [head() + BODY, LIVE], ids=["inference", "health"])
def test_requests_before_one_that_cannot_be_understood_get_their_answers(line, one):
    line.send(one * 5 + b"NONSENSE\r\n\r\n")
    assert [line.reply()[0] for _ in range(6)] == [200] * 5 + [400]
    assert line.reply() is None


@pytest.mark.parametrize("one", [head() + BODY, LIVE], ids=["inference", "health"])
def test_a_client_that_ends_its_stream_after_its_request_gets_its_answer(line, one):
    line.send(one)
    line.socket.shutdown(socket.SHUT_WR)
    assert line.reply()[0] == 200
    assert line.reply() is None


EARLY = {
    "health": b"GET /v2/health/live HTTP/1.1\r\nHost: localhost\r\n",
    "no route": b"POST /nothing HTTP/1.1\r\nHost: localhost\r\n",
    "a wrong verb": b"PUT %b HTTP/1.1\r\nHost: localhost\r\n" % PATH.encode(),
    "another host": b"POST %b HTTP/1.1\r\nHost: example.org\r\n" % PATH.encode(),
}


@pytest.mark.parametrize("first", EARLY.values(), ids=EARLY)
@pytest.mark.parametrize("size", [8_000, 16_500, 18_000, 40_000])
def test_after_a_request_that_is_answered_before_its_chunks_have_arrived_the_next_one_is_answered(line, first, size):
    chunks = b"".join(b"%x\r\n%b\r\n" % (1_000, bytes(1_000)) for _ in range(size // 1_000)) + b"0\r\n\r\n"
    line.send(first + b"Transfer-Encoding: chunked\r\n\r\n" + chunks + head() + BODY)
    assert line.reply()[0] in {200, 403, 404, 405}
    assert line.reply()[0] == 200


@pytest.mark.parametrize("rest", [head()[:30], head() + BODY[:3]], ids=["head", "body"])
@pytest.mark.parametrize("whole", [1, 3, 20])
def test_a_client_that_ends_its_stream_within_a_request_gets_the_answers_to_those_before_it(line, whole, rest):
    line.send((head() + BODY) * whole + rest)
    line.socket.shutdown(socket.SHUT_WR)
    assert [line.reply()[0] for _ in range(whole)] == [200] * whole
    assert line.reply() is None


def test_a_field_of_a_trailer_is_not_a_header(line):
    body = b"%x\r\n%b\r\n0\r\nHost: other\r\nX-Other: 5\r\n\r\n" % (len(BODY), BODY)
    line.send(head("Transfer-Encoding: chunked\r\n", length=None) + body)
    assert line.reply()[0] == 200


# Sizes


@pytest.mark.parametrize(
    "packets",
    [
        [b"GET /v2/health/live HTTP/1.1\r\nHost: x\r\nA: " + b"b" * 40_000 + b"\r\n\r\n"],
        [b"GET /v2/health/live HTTP/1.1\r\nHost: x\r\nA: ", *[b"b" * 9_000] * 4],
        [b"GET /v2/health/live?" + b"a" * 40_000],
        [b"GET /v2/health/live HTTP/1.1\r\nHost: x\r\n" + b"A: b\r\n" * 100 + b"\r\n"],
        [head("".join(f"a{i}: b\r\n" for i in range(100))) + BODY],
    ],
    ids=["one header", "one header in pieces", "the target", "many headers", "many headers of an inference"],
)
def test_a_head_without_end_is_refused(line, packets):
    status, document = line.send(*packets).reply()
    assert status == 431
    assert "at most 32768 bytes and 100 headers are accepted" in document["error"]
    assert line.reply() is None


def test_a_trailer_without_end_is_refused(line):
    body = b"%x\r\n%b\r\n0\r\nX: " % (len(BODY), BODY)
    line.send(head("Transfer-Encoding: chunked\r\n", length=None) + body, *[b"a" * 20_000] * 4)
    assert line.reply()[0] == 431
    assert line.reply() is None


@pytest.mark.parametrize("version", ["1.1", "1.0"])
@pytest.mark.parametrize("path", [PATH, "/v2/repository/index"])
def test_a_body_announced_too_large_gets_its_refusal_while_it_is_sent(line, path, version):
    line.send(head(path=path, version=version, length=99_999_999))
    line.send(bytes(300_000))  # like a proxy that has not read the refusal yet
    assert line.reply() == (413, {"error": "body of 99999999 bytes; at most 16777216 are accepted"})


def test_expect_continue_with_too_large_a_body_is_refused_without_100_continue(line):
    line.send(head("Expect: 100-continue\r\n", length=99_999_999))
    assert line.reply()[0] == 413


def test_a_body_in_chunks_that_never_ends_is_refused_and_not_read_forever(bounded):
    with Line(bounded.url) as line:
        line.send(head("Transfer-Encoding: chunked\r\n", length=None))
        assert line.is_closed_under(b"10000\r\n" + bytes(65_536) + b"\r\n")


def test_bodies_of_unanswered_requests_share_one_memory_limit(bounded):
    with Line(bounded.url) as first, Line(bounded.url) as second, Line(bounded.url) as third:
        lines = (first, second, third)
        for line in lines:
            line.send(head(length=1_900_000) + bytes(1_400_000))
        assert bounded.client.get("/v2/health/live").status_code == 200
        replies = dict(line.reply() for line in lines)  # the last of the three to be read exceeds the limit
        assert replies.keys() == {503, 408}
        assert "at most 3000000 are allowed; try again" in replies[503]["error"]

    def fits():
        with Line(bounded.url) as again:
            return again.send(head(length=1_600_000) + bytes(1_600_000)).reply()[0] != 503

    wait_until(fits)


def test_an_inflated_prompt_counts_against_the_limit_of_bodies(tmp_path, start):
    write_verse_model(tmp_path)
    service = start(tmp_path, environment=BOUNDS)
    prompt = gzip.compress(b'{"text_input": "' + b" " * 1_900_000 + b'"}')

    def is_refused():  # unless the service reads the line while the inflated prompt counts, and refuses the line
        with Line(service.url) as line:
            line.send(head(path="/v2/models/verse/generate", length=1_900_000) + bytes(1_400_000))
            headers = {"Content-Encoding": "gzip"}
            reply = service.client.post("/v2/models/verse/generate", content=prompt, headers=headers)
        return reply.status_code == 503 and "the bodies of unanswered requests hold" in reply.json()["error"]

    wait_until(is_refused)


def test_one_connection_more_than_the_limit_is_refused_with_an_answer(bounded):
    bounded.client.close()
    bounded.client = httpx.Client(base_url=bounded.url, timeout=30)
    lines = []

    def are_all_answered():
        for line in lines:
            line.socket.close()
        lines[:] = [Line(bounded.url) for _ in range(24)]
        return all(line.send(LIVE).reply() == (200, {"live": True}) for line in lines)

    wait_until(are_all_answered)
    with Line(bounded.url) as late:
        status, document = late.reply()
        assert status == 503
        assert document["error"] == "24 connections are open, as many as are allowed; try again"
        assert late.reply() is None
    for line in lines:
        assert line.send(LIVE).reply() == (200, {"live": True})
        line.socket.close()
    wait_until(lambda: bounded.client.get("/v2/health/live").status_code == 200)


# Times


def test_a_head_that_does_not_arrive_is_refused(bounded):
    with Line(bounded.url) as line:
        assert line.send(b"GET /v2/hea").reply() == (408, {"error": "the head did not arrive within 1 s"})
        assert line.reply() is None


def test_an_idle_connection_is_closed(bounded):
    with Line(bounded.url) as line:
        assert line.reply() is None


@pytest.mark.parametrize("length", [len(BODY), 900_000])
def test_a_body_whose_last_byte_does_not_arrive_is_refused(bounded, length):
    with Line(bounded.url) as line:
        status, document = line.send(head(length=length) + bytes(length - 1)).reply()
        assert status == 408
        assert f"{length - 1} bytes of the body arrived" in document["error"]
        assert "send at least 400000 bytes a second" in document["error"]
        assert line.reply() is None


def test_a_slow_head_behind_a_request_gets_its_refusal_after_the_answer(bounded):
    with Line(bounded.url) as line:
        line.send(LIVE + b"GET /v2/hea")
        assert line.reply()[0] == 200
        assert line.reply()[0] == 408


def test_a_client_that_never_reads_is_disconnected(bounded):
    with Line(bounded.url) as line:
        line.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        rows = json.dumps({"instances": [[[7] * SIDE] * SIDE] * 4_000}).encode()
        big = head(path=PATH, length=len(rows)).replace(b"octet-stream", b"json") + rows
        assert line.is_closed_under(big)


def test_a_connection_that_is_reset_in_the_middle_of_a_body_frees_its_bytes(bounded):
    for _ in range(20):
        with Line(bounded.url) as line:
            line.send(head(length=1_900_000) + bytes(500_000))
            line.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def fits():
        with Line(bounded.url) as again:
            return again.send(head(length=1_600_000) + bytes(1_600_000)).reply()[0] != 503

    wait_until(fits)


def get(path):
    return b"GET %b HTTP/1.1\r\nHost: localhost\r\n\r\n" % path


@pytest.mark.parametrize(
    ("are_accepted", "request_"),
    [
        (True, get(b"/openapi.json")),
        (False, get(b"/openapi.json")),
        (True, get(b"/v2/health/no-such")),
        (True, 20 * LIVE),
    ],
    ids=["one", "one, over new connections", "an unknown path below health", "more than one health check"],
)
def test_a_health_check_does_not_wait_for_hundreds_of_requests_that_arrive_before_it(
    tiny_models, start, are_accepted, request_
):
    """The process is stopped while they arrive, so that it reads all of them in one turn, the health check last."""
    service = start(tiny_models)
    with ExitStack() as stack:
        if not are_accepted:
            service.process.send_signal(signal.SIGSTOP)
        others = [stack.enter_context(Line(service.url)) for _ in range(800)]
        health = stack.enter_context(Line(service.url))
        if are_accepted:
            assert health.send(LIVE).reply() == (200, {"live": True})
            service.process.send_signal(signal.SIGSTOP)
        for line in others:
            line.send(request_)
        health.send(LIVE)
        service.process.send_signal(signal.SIGCONT)
        assert health.reply() == (200, {"live": True})
        ready = select.poll()
        for line in others:
            ready.register(line.socket, select.POLLIN)
        assert len(ready.poll(0)) < len(others) / 4
        count = request_.count(b"\r\n\r\n")
        assert {line.reply()[0] for line in others for _ in range(count)} <= {200, 404}


def test_bytes_sent_ahead_count_against_the_limit_of_bodies(tmp_path, start):
    """Requests above the limit are refused after the answers to the requests before them."""
    write_slow_model(tmp_path, multiplications=2)
    patient = {"batching": {"max_queue_s": 3600, "default_timeout_ms": 3_600_000}}  # twenty rows, one after the other
    (tmp_path / "slow" / "serving.json").write_text(json.dumps(patient))
    limits = {"ATELIER_BODIES_LIMIT_BYTES": "400000", "ATELIER_BODY_LIMIT_BYTES": "400000"}
    service = start(tmp_path, environment=limits)
    slow = json.dumps({"instances": [1]}).encode()
    first = head("Content-Type: application/json\r\n", path="/v1/models/slow:predict", length=len(slow)) + slow
    with ExitStack() as stack:
        lines = [stack.enter_context(Line(service.url)) for _ in range(20)]
        for line in lines:
            line.send(first.replace(b"Content-Type: application/octet-stream\r\n", b""), 2_500 * LIVE)
        assert service.client.get("/v2/health/live").status_code == 200
        replies = [reply for line in lines for _ in range(3) if (reply := line.reply()) is not None]
    refused = [answer for code, answer in replies if code == 503]
    assert 0 < len(refused) < len(lines)
    assert {code for code, _ in replies} == {200, 503}
    assert "the bodies of unanswered requests hold" in refused[0]["error"]


def test_the_time_of_a_request_counts_from_its_arrival_even_if_it_waits_for_others(tiny_models, start):
    """Its first stage, reading, lasts until it is parsed: long for the last of many that arrive together."""
    service = start(tiny_models)
    with ExitStack() as stack:
        lines = [stack.enter_context(Line(service.url)) for _ in range(1000)]
        assert lines[0].send(LIVE).reply() == (200, {"live": True})
        # Of ten bursts one is not disturbed at its beginning; otherwise the first and the last take equally long.
        assert any(burst(service, lines) > 2 for _ in range(10))


def burst(service, lines):
    """Of requests that arrive together: reading time of the last quarter, divided by that of the first quarter."""
    service.process.send_signal(signal.SIGSTOP)
    for line in lines:
        line.send(head(path=f"{PATH}?{'x' * 600}") + BODY)  # too long to be recognised as inference, which waits less
    service.process.send_signal(signal.SIGCONT)
    assert {line.reply()[0] for line in lines} <= {200, 429, 503}
    read_ms = [ms for line in lines if (ms := ms_read(line))]
    quarter = len(read_ms) // 4
    return sum(read_ms[-quarter:]) / sum(read_ms[:quarter])


def ms_read(line):
    """The stage "read" of the last reply, in milliseconds; 0 if it was refused."""
    found = re.search(rb"server-timing: read;dur=([0-9.]+)", line.top)
    return float(found[1]) if found else 0.0
