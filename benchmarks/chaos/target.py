"""The service of a scenario, and the definition of a scenario."""

import http.client
import socket
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.soak.service import Service

HEALTH = "/v2/health/live"
# Limit of the health probe during a scenario.
MOST_SILENCE_S = 0.25


@dataclass
class Found:
    """The observations of an act: in words, and the deviations from the expected."""

    measured: str
    faults: list[str] = field(default_factory=list)


class Target:
    """The service of a scenario."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.process = service.process
        self.address = service.address
        host, port = service.address.rsplit(":", 1)
        self.place = host, int(port)

    def connect(self) -> socket.socket:
        """A bare connection."""
        return socket.create_connection(self.place, timeout=30)

    def health_s(self) -> float:
        """Seconds until a probe over a new connection is answered; OSError without an answer."""
        began = time.perf_counter()
        connection = http.client.HTTPConnection(self.address, timeout=30)
        try:
            connection.request("GET", HEALTH)
            if connection.getresponse().status != 200:
                raise OSError("not 200")
        finally:
            connection.close()
        return time.perf_counter() - began

    def longest_wait_s(self, seconds: float, *, meanwhile: Callable[[], None] = lambda: None) -> float:
        """The longest probe within ``seconds``."""
        ends_at, longest = time.perf_counter() + seconds, 0.0
        while time.perf_counter() < ends_at:
            longest = max(longest, self.health_s())
            meanwhile()
            time.sleep(0.01)
        return longest

    def date(self) -> str:
        """The date in the service's replies."""
        connection = http.client.HTTPConnection(self.address, timeout=30)
        try:
            connection.request("GET", HEALTH)
            return " ".join(str(connection.getresponse().headers["Date"]).split()[1:4])
        finally:
            connection.close()

    def workers(self) -> list[int]:
        """Process ids of the workers."""
        found = []
        for entry in Path("/proc").iterdir():
            with suppress(OSError):
                if entry.name.isdigit():
                    fields = (entry / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
                    if int(fields[1]) == self.process.pid and b"app" in (entry / "cmdline").read_bytes():
                        found.append(int(entry.name))
        return sorted(found)

    def metric(self, name: str) -> float:
        """Sum of the samples of that name."""
        text = self.service.metrics()
        lines = (line for line in text.splitlines() if line.startswith((f"{name} ", f"{name}{{")))
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines)


@dataclass(frozen=True)
class Scenario:
    """One scenario.

    Attributes:
        expected: in words.
        act: runs the scenario and returns its observations.
        flags: of the service.
        prefix: command in front of the service's own, which changes its environment.
        lacking: returns what this machine lacks for the scenario; empty if nothing.
        may_lose: requests of others that may stay without an answer.
        may_answer: codes besides 200 that others may get.
    """

    name: str
    expected: str
    act: Callable[[Target], Found]
    flags: Sequence[str] = ()
    prefix: Callable[[], Sequence[str]] = tuple
    lacking: Callable[[], str] = str
    may_lose: int = 0
    may_answer: tuple[int, ...] = ()
