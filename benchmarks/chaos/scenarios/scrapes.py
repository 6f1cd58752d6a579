"""Clients that request metrics without pause."""

import re
import socket
import threading
import time

from benchmarks.chaos.target import MOST_SILENCE_S, Found, Scenario, Target

CLIENTS = 100
SECONDS = 10.0
_SCRAPE = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n"
_LENGTH = re.compile(rb"content-length: (\d+)\r\n", re.IGNORECASE)


def scrape(target: Target) -> Found:
    """A hundred connections, each with the next scrape as soon as it has the reply to the last."""
    ends_at = time.perf_counter() + SECONDS
    whole: list[int] = []

    def ask() -> None:
        with target.connect() as line:
            while time.perf_counter() < ends_at:
                line.sendall(_SCRAPE)
                whole.append(_reply(line))

    clients = [threading.Thread(target=ask) for _ in range(CLIENTS)]
    for each in clients:
        each.start()
    longest = target.longest_wait_s(SECONDS)
    for each in clients:
        each.join()
    faults = [] if all(status == 200 for status in whole) else ["a scrape was not answered with 200"]
    if longest > MOST_SILENCE_S:
        faults.append(f"health took {longest * 1e3:.0f} ms")
    return Found(f"{len(whole) / SECONDS:.0f} scrapes a second; health {longest * 1e3:.0f} ms at most", faults)


def _reply(line: socket.socket) -> int:
    """The status of a reply, read to its end; 0 if it ends early."""
    data = b""
    while (head_end := data.find(b"\r\n\r\n")) < 0 or len(data) < head_end + 4 + _length(data):
        part = line.recv(2**18)
        if not part:
            return 0
        data += part
    return int(data.split(b" ", 2)[1])


def _length(data: bytes) -> int:
    found = _LENGTH.search(data)
    return int(found[1]) if found else 0


SCRAPES = Scenario("many scrapes", "health within 250 ms; every scrape is answered", scrape)
