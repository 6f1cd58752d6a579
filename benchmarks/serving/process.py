"""Runs one server at a time on its own core: start, wait, measure from outside, and stop with all its processes."""

import contextlib
import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.serving.errors import Unavailable

START_LIMIT_S = 120
STOP_LIMIT_S = 25


@dataclass(frozen=True)
class Cores:
    """One core for the server, the other for the load generator."""

    server: int
    load: int


def two_cores() -> Cores:
    """The first two cores that this process may use.

    Raises:
        Unavailable: there is only one.
    """
    allowed = sorted(os.sched_getaffinity(0))
    if len(allowed) < 2:
        raise Unavailable("the server and the load generator require one core each; this process may use only one")
    return Cores(allowed[0], allowed[1])


def free_port() -> int:
    """A free port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass(frozen=True)
class Running:
    """A server that answers.

    Attributes:
        pid: of the started process.
        ready_s: seconds from its start to its first right answer.
        resident_mb: proportional share of memory of all its processes at that time, in 10^6 bytes.
    """

    port: int
    ready_s: float
    resident_mb: float
    pid: int


@contextmanager
def running(
    command: list[str],
    environment: Mapping[str, str],
    *,
    port: int,
    core: int,
    log: Path,
    directory: Path,
    answers: Callable[[], str | None],
) -> Iterator[Running]:
    """Start a server and wait until ``answers`` returns None; otherwise it returns the problem.

    Raises:
        Unavailable: it ended, or gave no right answer in time; with its last log line.
    """
    started = time.monotonic()
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w", encoding="utf-8") as output:
        process = subprocess.Popen(
            ["taskset", "--cpu-list", str(core), *command],
            stdout=output,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            cwd=directory,
            env={**os.environ, **environment},
            start_new_session=True,
        )
        try:
            _wait(process, answers, log)
            yield Running(port, time.monotonic() - started, _resident_mb(process.pid), process.pid)
        finally:
            _stop(process)


def _wait(process: "subprocess.Popen[bytes]", answers: Callable[[], str | None], log: Path) -> None:
    deadline = time.monotonic() + START_LIMIT_S
    while (wrong := answers()) is not None:
        if process.poll() is not None:
            raise Unavailable(f"ended with {process.returncode}: {_last_line(log)}")
        if time.monotonic() > deadline:
            raise Unavailable(f"no right answer after {START_LIMIT_S} s ({wrong}); its last line: {_last_line(log)}")
        time.sleep(0.02)


def _stop(process: "subprocess.Popen[bytes]") -> None:
    """Ask it to stop; then kill the rest of its processes."""
    family = _family(process.pid)
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(STOP_LIMIT_S)
    time.sleep(0.2)
    for pid, start in family.items():
        if start != "gone" and _start_time(pid) == start:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    process.wait()


def _family(root: int) -> dict[int, str]:
    """Process and all its descendants -> start time of each, to recognize reused process ids."""
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (fields := _stat(int(entry.name))):
            parents[int(entry.name)] = int(fields[1])
    family, grown = {root}, True
    while grown:
        more = {pid for pid, parent in parents.items() if parent in family} - family
        grown = bool(more)
        family |= more
    return {pid: _start_time(pid) for pid in family}


def _stat(pid: int) -> list[str]:
    """Fields of /proc/PID/stat from the state on; empty if the process has ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except OSError:
        return []


def _start_time(pid: int) -> str:
    fields = _stat(pid)
    return fields[19] if fields and fields[0] != "Z" else "gone"


def _resident_mb(root: int) -> float:
    total = 0
    for pid in _family(root):
        with contextlib.suppress(OSError):
            found = re.search(r"^Pss:\s+(\d+) kB", Path(f"/proc/{pid}/smaps_rollup").read_text("utf-8"), re.MULTILINE)
            total += int(found[1]) if found else 0
    return total * 1024 / 1e6


def _last_line(log: Path) -> str:
    lines = [line.strip() for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    return lines[-1][:300] if lines else "nothing"
