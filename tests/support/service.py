"""A real service process on a free port."""

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.support.forked import ROOT, ForkedProcess, can_fork

# Root without the capabilities by which permissions do not count for it.
BOUND_BY_PERMISSIONS = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if os.geteuid() == 0 else []


def own_environment() -> dict[str, str]:
    """The environment without the user's settings, a terminal's width, and what other tests here have set."""
    left_out = ("ATELIER_", "COLUMNS", "LINES", "CUDA_VISIBLE_DEVICES")  # the last one is set by an import of training
    return {name: value for name, value in os.environ.items() if not name.startswith(left_out)}


def address_of_this_machine() -> str:
    """An address of a network interface other than loopback; no packet is sent to find it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))
        return str(probe.getsockname()[0])


@contextmanager
def start_uvicorn(models: Path, *, host: str) -> Iterator[int]:
    """The application under plain uvicorn, without our command line; yields its port once it is ready."""
    with socket.socket() as free:
        free.bind((host, 0))
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-m", "uvicorn", "--factory", "app.main:create_app", "--host", host, "--port", str(port)],
        cwd=ROOT,
        env={**own_environment(), "ATELIER_MODELS_DIR": str(models)},
        stderr=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 30
        while not _answers(port):
            assert process.poll() is None, "uvicorn ended"
            assert time.monotonic() < deadline, "uvicorn did not become ready"
            time.sleep(0.05)
        yield port
    finally:
        process.terminate()
        process.wait(30)


def _answers(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/v2/health/ready").status_code == 200
    except httpx.TransportError:
        return False


def wait_until(happened: Callable[[], object], *, within_s: float = 30) -> None:
    """Return once ``happened`` returns a true value; fail after ``within_s``."""
    deadline = time.monotonic() + within_s
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.01)


class Service:
    """``python -m app serve`` as an operator starts it.

    Args:
        models: models directory; None: no --models-dir.
        arguments: further flags.
        wait_ready: return only once /v2/health/ready answers 200.
        environment: further variables.
        through: a command that starts the command given to it.
    """

    def __init__(
        self,
        models: Path | None,
        *arguments: str,
        wait_ready: bool = True,
        environment: Mapping[str, str] | None = None,
        through: Sequence[str] = (),
    ) -> None:
        self.models = models
        given = [] if models is None else ["--models-dir", str(models)]
        may_fork = not through and can_fork(environment or {})
        environment = {**own_environment(), **(environment or {})}
        command = ["serve", "--port", "0", *given, *arguments]
        self.process = (
            ForkedProcess(command, env=environment)
            if may_fork
            else subprocess.Popen(
                [*through, sys.executable, "-m", "app", *command],
                cwd=ROOT,
                env=environment,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
        self.lines: list[str] = []
        self._listening = threading.Event()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self._listening.wait(30)
        found = re.search(r"running on (https?://\S+)", self.log)
        if found is None:
            self.stop()
            raise AssertionError("the service did not start:\n" + self.log)
        self.url = found[1]
        self.client = httpx.Client(base_url=self.url, timeout=30)
        if wait_ready:
            self.wait_until_ready()

    @property
    def log(self) -> str:
        """Everything written to standard error so far."""
        return "".join(self.lines)

    def wait_for_log(self, text: str, *, also: str = "", within_s: float = 30) -> None:
        """Wait for a line of the log that contains both texts; a line arrives here a moment after it is written."""
        wait_until(lambda: any(text in line and also in line for line in self.lines), within_s=within_s)

    def wait_until_ready(self) -> None:
        deadline = time.monotonic() + 30
        while self.client.get("/v2/health/ready").status_code != 200:
            assert time.monotonic() < deadline, self.log
            time.sleep(0.02)

    def metric(self, name: str, **labels: str) -> float:
        """The value of the only sample of that name with those labels; 0 without one."""
        return sample(self.client, name, **labels)

    def stop(self, sig: int = signal.SIGTERM) -> int:
        """Send a signal and return the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(sig)
        code = self.process.wait(30)
        self._reader.join(5)
        if hasattr(self, "client"):
            self.client.close()
        if self.process.stderr is not None:
            self.process.stderr.close()
        return code

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.lines.append(line)
            if "running on http" in line:
                self._listening.set()
        self._listening.set()


ServiceKind = TypeVar("ServiceKind", bound=Service)


def running(service: ServiceKind) -> Iterator[ServiceKind]:
    """The body of a fixture of one service, which logs no traceback and exits with 0."""
    yield service
    code = service.stop()
    assert "Traceback" not in service.log
    assert code == 0


def starting(kind: type[Service] = Service) -> Iterator[Callable[..., Service]]:
    """The body of a fixture that starts services, and checks that they exit with 0."""
    services: list[Service] = []

    def begin(*arguments: Any, **options: Any) -> Service:
        services.append(kind(*arguments, **options))
        return services[-1]

    yield begin
    for service in services:
        if service.process.returncode is None:
            assert service.stop() == 0


def start_fixture(kind: type[Service]) -> Any:
    """A fixture that starts services and checks that they exit with 0: ``start = start_fixture(kind)`` in a test."""

    @pytest.fixture
    def start() -> Iterator[Callable[..., Service]]:
        yield from starting(kind)

    return start


def sample(client: httpx.Client, name: str, **labels: str) -> float:
    """The value of the first sample of that name with those labels in /metrics; 0 without one."""
    for family in text_string_to_metric_families(client.get("/metrics").text):
        for found in family.samples:
            if found.name == name and labels.items() <= found.labels.items():
                return float(found.value)
    return 0.0
