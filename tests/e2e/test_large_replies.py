"""Answers much larger than their requests, and clients that send faster than they read."""

import json
import re
import socket
import threading
import time
from contextlib import ExitStack

import numpy as np
import pytest
import tritonclient.grpc as triton
from tritonclient.utils import InferenceServerException

from tests.support.bare_connection import Line
from tests.support.memory import resident_mb
from tests.support.processes import open_files
from tests.support.responsiveness import MOST_SILENCE_S, longest_silence
from tests.support.service import ROOT, Service, running, wait_until

NEXT_WORD = "shakespeare-next-word-lstm"
WORDS = 3_999
LIVE = b"GET /v2/health/live HTTP/1.1\r\nHost: localhost\r\n\r\n"
CHUNKED = (
    f"POST /v1/models/{NEXT_WORD}:predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    "Transfer-Encoding: chunked\r\n\r\n"
).encode()


@pytest.fixture(scope="module")
def service():
    """Clients that do not read are disconnected earlier, or later, than idle connections."""
    bounds = {
        "ATELIER_REPLIES_LIMIT_BYTES": str(64 * 2**20),
        "ATELIER_SEND_TIMEOUT_S": "4",
        "ATELIER_KEEP_ALIVE_S": "1",
    }
    yield from running(Service(ROOT / "models", "--grpc-port", "0", environment=bounds))


def request(rows, **output):
    """A request of some bytes a row for 16 KB of numbers a row."""
    ids = {"name": "token_ids", "datatype": "INT32", "shape": [rows, 1], "data": [1] * rows}
    return {"inputs": [ids], "outputs": [{"name": "probabilities", "parameters": output}]}


def infer(service, document):
    return service.client.post(f"/v2/models/{NEXT_WORD}/infer", json=document, timeout=60)


@pytest.mark.parametrize(
    ("rows", "output", "message"),
    [
        (4_096, {}, "the answer to 4096 instances would hold 65519616 bytes of numbers; at most 16777216 are sent"),
        (512, {"classification": WORDS}, "512 instances with the best 3999 classes each make 2047488 classes; at most"),
    ],
)
def test_an_answer_that_is_too_large_is_refused(service, rows, output, message):
    reply = infer(service, request(rows, **output))
    assert reply.status_code == 413
    assert message in reply.json()["error"]
    port = int(re.search(r"gRPC listens on \S+:(\d+)", service.log)[1])
    with triton.InferenceServerClient(f"127.0.0.1:{port}") as client:
        ids = triton.InferInput("token_ids", [rows, 1], "INT32")
        ids.set_data_from_numpy(np.ones((rows, 1), np.int32))
        wanted = triton.InferRequestedOutput("probabilities", class_count=output.get("classification", 0))
        with pytest.raises(InferenceServerException, match=re.escape(message)):
            client.infer(NEXT_WORD, [ids], outputs=[wanted])


def test_large_answers_are_exact_and_do_not_delay_others(service):
    expected = infer(service, request(1)).json()["outputs"][0]["data"]
    with longest_silence(service) as waits:
        whole = infer(service, request(1_000)).json()["outputs"][0]
        rows = service.client.post(
            f"/v1/models/{NEXT_WORD}:predict", json={"instances": [[1]] * 1_000}, timeout=60
        ).json()["predictions"]
        classes = infer(service, request(60, classification=WORDS)).json()["outputs"][0]
    assert waits[0] < MOST_SILENCE_S
    assert whole["shape"] == [1_000, WORDS]
    assert whole["data"] == expected * 1_000
    assert rows == [expected] * 1_000
    assert classes["shape"] == [60, WORDS]
    assert len(set(classes["data"])) == WORDS


def test_unread_replies_share_one_memory_limit_and_their_connections_are_aborted(service):
    before, others = resident_mb(service), open_sockets(service)
    document = json.dumps(request(1_000, binary_data=True)).encode()  # 16 MB for 2 KB
    head = (
        f"POST /v2/models/{NEXT_WORD}/infer HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(document)}\r\n\r\n"
    ).encode()

    most = 0.0
    with ExitStack() as opened:
        lines = [opened.enter_context(Line(service.url)) for _ in range(24)]  # 384 MB
        for line in lines:
            line.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
            line.send(head + document)
        for _ in range(60):
            most = max(most, resident_mb(service))
            time.sleep(0.1)
        assert most - before < 250  # the room, one reply more, and two that are being printed
        wait_until(lambda: open_sockets(service) <= others)
    assert infer(service, request(1_000)).status_code == 200


def open_sockets(service):
    """The sockets of the service: a client that never reads does not notice that its connection was aborted."""
    return sum(path.startswith("socket:") for path in open_files(service.process.pid))


def test_a_flood_of_pipelined_requests_is_understood_one_by_one(service):
    before, ends_at = resident_mb(service), time.monotonic() + 3
    with longest_silence(service) as waits, Line(service.url) as line:
        answers = [0]

        def read():
            rest = b""
            while data := line.socket.recv(1 << 20):
                *whole, rest = (rest + data).split(b"HTTP/1.1 200")  # the last part may end within the next one
                answers[0] += len(whole)

        reading = threading.Thread(target=read)
        reading.start()
        line.socket.settimeout(30)
        sent = 0
        while time.monotonic() < ends_at:
            line.socket.sendall(LIVE * 1_000)
            sent += 1_000
        line.socket.shutdown(socket.SHUT_WR)
        reading.join()
    assert waits[0] < MOST_SILENCE_S
    assert resident_mb(service) - before < 100
    assert answers[0] == sent


def test_a_flood_of_tiny_chunks_is_refused(service):
    with longest_silence(service) as waits, Line(service.url) as line:
        line.send(CHUNKED)
        try:
            for _ in range(20):
                line.socket.sendall(b"1\r\na\r\n" * 20_000)
        except ConnectionError:
            pass
        else:
            assert line.reply()[0] == 431
    assert waits[0] < MOST_SILENCE_S


def test_small_chunks_are_read(service):
    body = json.dumps({"instances": [[1, 2, 3]] * 500}).encode()
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(body[at : at + 16]), body[at : at + 16]) for at in range(0, len(body), 16))
    with Line(service.url) as line:
        line.send(CHUNKED + chunks + b"0\r\n\r\n" + LIVE)
        status, document = line.reply()
        assert status == 200
        assert len(document["predictions"]) == 500
        assert line.reply()[0] == 200
