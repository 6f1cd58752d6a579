"""A process without free file descriptors."""

import http.client
import socket
import time
from collections.abc import Sequence
from contextlib import suppress

from benchmarks.chaos.target import Found, Scenario, Target


def no_descriptors(target: Target) -> Found:
    """Open more connections than the process has file descriptors, then close them."""
    lines = []
    for _ in range(400):
        with suppress(OSError):
            line = socket.create_connection(target.place, timeout=1)
            lines.append(line)
    time.sleep(2)
    for line in lines:
        line.close()
    began = time.perf_counter()
    faults = []
    while True:
        try:
            target.health_s()
            break
        except (OSError, http.client.HTTPException):
            if time.perf_counter() > began + 20:
                faults.append("no answer 20 s after the connections had closed")
                break
            time.sleep(0.1)
    return Found(f"{len(lines)} connections; health {time.perf_counter() - began:.1f} s after they closed", faults)


def few_descriptors() -> Sequence[str]:
    """The shell lowers the limit before the service starts, like an operator's systemd unit."""
    return "sh", "-c", 'ulimit -n 256; exec "$@"', "sh"


NO_DESCRIPTORS = Scenario(
    "no descriptors left",
    "answers again once descriptors are free",
    no_descriptors,
    prefix=few_descriptors,
    may_lose=1_000,
)
