"""The scenarios: what is done to a service, and what is expected of it."""

import http.client
import os
import signal
import socket
import struct
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import gettempdir

from benchmarks.soak.service import Service

HEALTH = "/v2/health/live"
# Of health, while the scenario lasts.
MOST_SILENCE_S = 0.25
CLIENTS = 2_000
SLOW_CLIENTS = 500
# The wall clock of the service that is made to jump: libfaketime adds what this file says.
CLOCK = Path(gettempdir()) / f"atelier-clock-{os.getpid()}"
JUMPS = ("+1d", "-1d", "+4000d", "-20d", "+0")
_FAKETIME = ("/usr/lib/*/faketime/libfaketimeMT.so.1", "/usr/lib*/faketime/libfaketimeMT.so.1")


@dataclass
class Found:
    """What an act saw: in words, and what was not as expected."""

    measured: str
    faults: list[str] = field(default_factory=list)


class Target:
    """The service that a scenario is done to."""

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
        """Seconds that an answer to a probe takes, over a new connection; OSError if there is none."""
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
        """The longest of the probes in so many seconds."""
        ends_at, longest = time.perf_counter() + seconds, 0.0
        while time.perf_counter() < ends_at:
            longest = max(longest, self.health_s())
            meanwhile()
            time.sleep(0.01)
        return longest

    def date(self) -> str:
        """The day that the service's replies state."""
        connection = http.client.HTTPConnection(self.address, timeout=30)
        try:
            connection.request("GET", HEALTH)
            return " ".join(str(connection.getresponse().headers["Date"]).split()[1:4])
        finally:
            connection.close()

    def workers(self) -> list[int]:
        """Process numbers of the workers."""
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
        connection = http.client.HTTPConnection(self.address, timeout=30)
        try:
            connection.request("GET", "/metrics")
            text = connection.getresponse().read().decode()
        finally:
            connection.close()
        lines = (line for line in text.splitlines() if line.startswith((f"{name} ", f"{name}{{")))
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines)


@dataclass(frozen=True)
class Scenario:
    """One of them.

    Attributes:
        expected: in words.
        act: does it, and says what it saw.
        flags: of the service.
        prefix: command that starts the service's own, with what it changes around it.
        lacking: says what this machine lacks for it; empty if nothing.
        may_lose: requests of others that may go without an answer.
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


def kill_workers(target: Target) -> Found:
    """kill -9 of one worker after the other, five times."""
    faults, back = [], []
    for _ in range(5):
        workers = target.workers()
        os.kill(workers[0], signal.SIGKILL)
        began = time.perf_counter()
        while len(set(target.workers()) - {workers[0]}) < len(workers) and time.perf_counter() < began + 30:
            time.sleep(0.02)
        back.append(time.perf_counter() - began)
        if back[-1] >= 30:
            faults.append("a worker was not replaced within 30 s")
        time.sleep(3)  # until it takes connections
        target.health_s()
    return Found(f"replaced within {max(back):.1f} s, 5 of 5", faults)


def stop_worker(target: Target) -> Found:
    """SIGSTOP of one of two workers for four seconds; new connections go to the other one or wait."""
    stopped = target.workers()[0]
    os.kill(stopped, signal.SIGSTOP)
    answered = waited = 0
    ends_at = time.perf_counter() + 4
    while time.perf_counter() < ends_at:
        with target.connect() as line:
            line.settimeout(0.3)
            line.sendall(f"GET {HEALTH} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
            try:
                answered += line.recv(12) == b"HTTP/1.1 200"
            except TimeoutError:
                waited += 1
    os.kill(stopped, signal.SIGCONT)
    time.sleep(1)
    after = target.longest_wait_s(2)
    faults = [] if answered else ["the other worker answered nothing"]
    if after > MOST_SILENCE_S:
        faults.append(f"health took {after * 1e3:.0f} ms afterwards")
    return Found(f"{answered} probes answered, {waited} waited; afterwards {after * 1e3:.0f} ms at most", faults)


def slow_heads(target: Target) -> Found:
    """Hundreds of clients that send a byte of a head each second."""
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


def large_json(target: Target) -> Found:
    """Ten JSON documents of 15 MB at once, of each of five kinds."""
    image = b"[" + b",".join([b"[" + b",".join([b"128"] * 28) + b"]"] * 28) + b"]"
    head = b'{"inputs":[{"name":"pixels","datatype":"UINT8","shape":[4700,28,28],"data":['
    documents = {
        "numbers": b'{"instances":[' + b"1," * 7_500_000 + b"1]}",
        "images": b'{"instances":[' + b",".join([image] * 4_700) + b"]}",
        "small arrays": b'{"instances":[' + b"[1]," * 3_750_000 + b"[1]]}",
        "strings": b'{"instances":[' + b'"a",' * 3_750_000 + b'"a"]}',
        "V2": head + b",".join([b"128"] * 4_700 * 784) + b"]}]}",
    }
    waits, faults = {}, []
    for name, document in documents.items():
        model = "/v2/models/fashion-mnist-cnn/infer" if name == "V2" else "/v1/models/fashion-mnist-cnn:predict"
        codes: list[int] = []

        def ask(path: str = model, body: bytes = document, codes: list[int] = codes) -> None:
            connection = http.client.HTTPConnection(target.address, timeout=60)
            try:
                connection.request("POST", path, body, {"Content-Type": "application/json"})
                codes.append(connection.getresponse().status)
            finally:
                connection.close()

        clients = [threading.Thread(target=ask) for _ in range(10)]
        for each in clients:
            each.start()
        waits[name] = 0.0
        while any(each.is_alive() for each in clients):
            waits[name] = max(waits[name], target.health_s())
            time.sleep(0.005)
        if len(codes) != 10 or not set(codes) <= {200, 400, 413, 429, 503}:
            faults.append(f"{name}: answered {sorted(codes)}")
    longest = max(waits, key=waits.__getitem__)
    if waits[longest] > MOST_SILENCE_S:
        faults.append(f"health took {waits[longest] * 1e3:.0f} ms ({longest})")
    return Found("health at most " + ", ".join(f"{took * 1e3:.0f} ms ({name})" for name, took in waits.items()), faults)


def no_descriptors(target: Target) -> Found:
    """More connections than the process has descriptors for; then they close."""
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


def jump(target: Target) -> Found:
    """The wall clock jumps by days, months and years, back and forth."""
    before, longest, faults = target.metric("atelier_request_seconds_sum"), 0.0, []
    began = time.perf_counter()
    for offset in JUMPS:
        CLOCK.write_text(offset, encoding="ascii")
        longest = max(longest, target.longest_wait_s(1.5))
        status, body = target.service.post("/v2/repository/models/fashion-mnist-cnn/load")
        if status != 200:
            faults.append(f"a load at {offset} was answered {status}: {body}")
        if (target.date() == time.strftime("%d %b %Y", time.gmtime())) != (offset == "+0"):
            faults.append(f"after a jump by {offset} the service said {target.date()}")
    CLOCK.unlink()
    spent = target.metric("atelier_request_seconds_sum") - before
    if not 0 < spent < 10 * (time.perf_counter() - began):
        faults.append(f"requests took {spent:.0f} s together, the metrics say")
    if longest > MOST_SILENCE_S:
        faults.append(f"health took {longest * 1e3:.0f} ms")
    return Found(f"{len(JUMPS)} jumps; health {longest * 1e3:.0f} ms at most", faults)


def few_descriptors() -> Sequence[str]:
    """The shell lowers the limit before the service starts, as an operator's unit would."""
    return "sh", "-c", 'ulimit -n 256; exec "$@"', "sh"


def own_clock() -> Sequence[str]:
    """The service reads its wall clock through libfaketime, and the others from the kernel."""
    CLOCK.write_text("+0", encoding="ascii")
    return (
        "env",
        f"LD_PRELOAD={_libfaketime()}",
        f"FAKETIME_TIMESTAMP_FILE={CLOCK}",
        "FAKETIME_NO_CACHE=1",
        "FAKETIME_DONT_FAKE_MONOTONIC=1",
        "DONT_FAKE_MONOTONIC=1",  # its name before 0.9.10
    )


def no_faketime() -> str:
    """Empty if libfaketime is installed."""
    return "" if _libfaketime() else "needs libfaketime (apt install faketime)"


def _libfaketime() -> Path | None:
    return next((found for place in _FAKETIME for found in Path("/").glob(place[1:])), None)


SCENARIOS = (
    Scenario(
        "kill -9 of workers",
        "replaced; only requests on the killed worker are lost",
        kill_workers,
        ("--workers", "2"),
        may_lose=40,
    ),
    Scenario(
        "SIGSTOP of a worker",
        "the other answers; none is refused for the time that it was stopped",
        stop_worker,
        ("--workers", "2"),
    ),
    Scenario("slow heads", "408 for each after 10 s; others within 250 ms", slow_heads),
    Scenario("vanishing clients", "nothing is kept of them; others within 250 ms", vanish),
    Scenario("large JSON", "health within 250 ms; others within their timeouts", large_json),
    Scenario(
        "no descriptors left",
        "answers again once there are",
        no_descriptors,
        prefix=few_descriptors,
        may_lose=1_000,
    ),
    Scenario(
        "clock jumps",
        "nobody notices: no timeout, no refusal; loads and metrics go on",
        jump,
        prefix=own_clock,
        lacking=no_faketime,
    ),
)
