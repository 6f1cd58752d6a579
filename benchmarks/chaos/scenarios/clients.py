"""Clients that are slow, or leave."""

import socket
import struct
import time
from contextlib import suppress

from benchmarks.chaos.target import HEALTH, MOST_SILENCE_S, Found, Scenario, Target

CLIENTS = 2_000
SLOW_CLIENTS = 500


def slow_heads(target: Target) -> Found:
    """Hundreds of clients that send one byte of a head per second."""
    lines = [target.connect() for _ in range(SLOW_CLIENTS)]
    text = f"GET {HEALTH} HTTP/1.1\r\nHost: localhost\r\nX-Slow: {'x' * 100}".encode()
    sent, due = 0, time.perf_counter()

    def drip() -> None:
        nonlocal sent, due
        if time.perf_counter() >= due:
            for line in lines:
                with suppress(OSError):
                    line.send(text[sent : sent + 1])
            sent, due = sent + 1, due + 1

    longest = target.longest_wait_s(14, meanwhile=drip)
    refused = 0
    for line in lines:
        line.settimeout(1)
        with suppress(OSError):
            refused += b" 408 " in line.recv(64)
        line.close()
    faults = [] if refused == SLOW_CLIENTS else [f"only {refused} were refused"]
    if longest > MOST_SILENCE_S:
        faults.append(f"health took {longest * 1e3:.0f} ms")
    return Found(f"{refused} of {SLOW_CLIENTS} refused with 408; health {longest * 1e3:.0f} ms at most", faults)


def vanish(target: Target) -> Found:
    """Thousands of clients that send a request, or a part of one, and reset the connection."""
    before = target.service.size()
    body = bytes(784)
    head = (
        "POST /v1/models/fashion-mnist-cnn:predict HTTP/1.1\r\nHost: localhost\r\n"
        f"Content-Type: application/octet-stream\r\nContent-Length: {len(body)}\r\n\r\n"
    ).encode()
    whole = head + body
    longest = 0.0
    for number in range(CLIENTS):
        with target.connect() as line:
            line.sendall(whole[: (len(whole), len(head) + 100, len(head) // 2)[number % 3]])
            line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        if number % 100 == 0:
            longest = max(longest, target.health_s())
    time.sleep(3)
    after = target.service.size()
    faults = []
    if target.metric("atelier_queued_rows"):
        faults.append("work of clients that left waits")
    if after.descriptors > before.descriptors + 5:
        faults.append(f"{after.descriptors - before.descriptors} more descriptors are open")
    if longest > MOST_SILENCE_S:
        faults.append(f"health took {longest * 1e3:.0f} ms")
    grown = after.resident_mb - before.resident_mb
    return Found(f"{CLIENTS} left; health {longest * 1e3:.0f} ms at most, {grown:+.0f} MB, queue empty", faults)


SLOW_HEADS = Scenario("slow heads", "408 for each after 10 s; others within 250 ms", slow_heads)
VANISH = Scenario("vanishing clients", "nothing of them stays in memory; others within 250 ms", vanish)
