"""The service under test: a separate process with a copy of the models, and its resources."""

import http.client
import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

SERVE = (sys.executable, "-m", "app", "serve")
READY_LIMIT_S = 120
MOST_ERRORS = 100


@dataclass(frozen=True)
class Size:
    """Resources of a process.

    Attributes:
        resident_mb: memory, in 10^6 bytes.
        proportional_mb: the same, with a proportional share of pages that other processes use too.
        descriptors, threads: open file descriptors, and threads.
    """

    resident_mb: float
    proportional_mb: float
    descriptors: int
    threads: int


@dataclass(frozen=True)
class Service:
    """A service that is ready.

    Attributes:
        address: "host:port" of HTTP.
        grpc_port: None without gRPC.
        errors: lines of its log, the first ``MOST_ERRORS``, complete once it has ended.
    """

    process: "subprocess.Popen[str]"
    address: str
    grpc_port: int | None
    errors: list[str]

    def size(self) -> Size:
        """The current resources of the process."""
        place = Path(f"/proc/{self.process.pid}")
        status = (place / "status").read_text(encoding="utf-8")
        rollup = (place / "smaps_rollup").read_text(encoding="utf-8")
        kib = {key: int(_find(rf"^{key}:\s+(\d+)", text)) for key, text in (("VmRSS", status), ("Pss", rollup))}
        threads = int(_find(r"^Threads:\s+(\d+)", status))
        descriptors = len(os.listdir(place / "fd"))
        return Size(kib["VmRSS"] * 1024 / 1e6, kib["Pss"] * 1024 / 1e6, descriptors, threads)

    def metrics(self) -> str:
        """The text of a scrape."""
        connection = http.client.HTTPConnection(self.address, timeout=30)
        try:
            connection.request("GET", "/metrics")
            return connection.getresponse().read().decode()
        finally:
            connection.close()

    def post(self, path: str, document: object = None) -> tuple[int, str]:
        """Status and body of an administrator's call."""
        connection = http.client.HTTPConnection(self.address, timeout=120)
        try:
            body = json.dumps(document) if document is not None else None
            connection.request("POST", path, body, {"Content-Type": "application/json"})
            reply = connection.getresponse()
            return reply.status, reply.read().decode()
        finally:
            connection.close()

    def must_post(self, path: str, document: object = None) -> None:
        """As ``post``, but raises RuntimeError if the status is not 200."""
        status, body = self.post(path, document)
        if status != 200:
            raise RuntimeError(f"{path} answered {status}: {body}")


@contextmanager
def serving(
    models: Path, *arguments: str, command: Sequence[str] = SERVE, expected_errors: str = "$^"
) -> Iterator[Service]:
    """A service with ``models`` on a free port, until the block ends; yields once it is ready.

    Args:
        arguments: further flags.
        command: starts it.
        expected_errors: pattern of errors in its log that are not kept.
    """
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ATELIER_")}
    command = [*command, "--port", "0", "--models-dir", str(models), *arguments]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) as process:
        try:
            address, grpc_port, errors = _addresses(process)
            reader = threading.Thread(target=_read_log, args=(process, errors, expected_errors))
            reader.start()
            try:
                _wait_until_ready(address)
                yield Service(process, address, grpc_port, errors)
            finally:
                process.terminate()
                reader.join()
        finally:
            process.terminate()


def _addresses(process: "subprocess.Popen[str]") -> tuple[str, int | None, list[str]]:
    assert process.stderr is not None
    grpc_port, lines = None, []
    for line in process.stderr:
        lines.append(line)
        if found := re.search(r"gRPC listens on \S+:(\d+)", line):
            grpc_port = int(found[1])
        if found := re.search(r"running on http://(\S+)", line):
            return found[1], grpc_port, []
    raise RuntimeError("the service ended before it listened: " + "".join(lines))


def _read_log(process: "subprocess.Popen[str]", errors: list[str], expected: str) -> None:
    """Read the pipe; keep the first errors, and lines that are not from the log, such as an interpreter's error."""
    assert process.stderr is not None
    for line in process.stderr:
        is_error = " ERROR " in line or not re.match(r"\d{4}-", line)
        if is_error and not re.search(expected, line) and len(errors) < MOST_ERRORS:
            errors.append(line)


def _wait_until_ready(address: str) -> None:
    ends_at = time.monotonic() + READY_LIMIT_S
    while time.monotonic() < ends_at:
        connection = http.client.HTTPConnection(address, timeout=30)
        try:
            connection.request("GET", "/v2/health/ready")
            if connection.getresponse().status == 200:
                return
        finally:
            connection.close()
        time.sleep(0.02)
    raise RuntimeError(f"the service was not ready within {READY_LIMIT_S} s")


def _find(pattern: str, text: str) -> str:
    found = re.search(pattern, text, re.MULTILINE)
    assert found is not None, pattern
    return found[1]
