"""Thousands of clients whose requests arrive at the same time."""

import socket
import threading
import time
from contextlib import ExitStack

from benchmarks.chaos.target import MOST_SILENCE_S, Found, Scenario, Target

CLIENTS = 2_000
_TEXT = b'{"text_input":"to be","max_tokens":1}'
_REQUESTS = {
    "openapi.json": b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "metadata": b"GET /v2/models/fashion-mnist-cnn HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "repository index": b"POST /v2/repository/index HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n",
    "predict": b"POST /v1/models/fashion-mnist-cnn:predict HTTP/1.1\r\nHost: localhost\r\n"
    b"Content-Type: application/octet-stream\r\nContent-Length: 784\r\n\r\n" + bytes(784),
    "text stream": b"POST /v2/models/shakespeare-next-word-lstm/generate_stream HTTP/1.1\r\nHost: localhost\r\n"
    b"Content-Length: %d\r\n\r\n%b" % (len(_TEXT), _TEXT),
    "20 sent ahead": 20 * b"GET /v2/health/no-such-path HTTP/1.1\r\nHost: localhost\r\n\r\n",
}


def at_once(target: Target) -> Found:
    """Two thousand connections, each with one packet, of each of six kinds; health is probed until all answer."""
    waits, faults = {}, []
    for name, request in _REQUESTS.items():
        with ExitStack() as stack:
            lines = [stack.enter_context(target.connect()) for _ in range(CLIENTS)]
            codes: list[int] = []
            sending = threading.Thread(target=_send_and_read, args=(lines, request, codes))
            sending.start()
            waits[name] = 0.0
            while sending.is_alive():
                waits[name] = max(waits[name], target.health_s())
                time.sleep(0.005)
        if len(codes) != CLIENTS or not set(codes) <= {200, 404, 429, 503}:
            faults.append(f"{name}: {len(codes)} answers of {CLIENTS}, with {sorted(set(codes))}")
    longest = max(waits, key=waits.__getitem__)
    if waits[longest] > MOST_SILENCE_S:
        faults.append(f"health took {waits[longest] * 1e3:.0f} ms ({longest})")
    return Found("health at most " + ", ".join(f"{took * 1e3:.0f} ms ({name})" for name, took in waits.items()), faults)


def _send_and_read(lines: list[socket.socket], request: bytes, codes: list[int]) -> None:
    for line in lines:
        line.sendall(request)
    codes.extend(int(line.recv(64).split(b" ", 2)[1]) for line in lines)


AT_ONCE = Scenario(
    "thousands at once",
    "health within 250 ms; every request is answered or refused",
    at_once,
    may_answer=(429, 503),
)
