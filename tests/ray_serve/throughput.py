"""Requests per second of one replica, next to one process of ``python -m app serve``, and where the time goes."""

import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from benchmarks.serving.forms import Post
from benchmarks.serving.load import closed_loop
from tests.ray_serve.nodes import Nodes
from tests.support.forked import ROOT
from tests.support.service import Service

CONNECTIONS, SECONDS = 32, 6
PATH = "/v1/models/fashion-mnist-mlp:predict"
TICKS_PER_S = os.sysconf("SC_CLK_TCK")
PARTS = {
    "ray::ProxyActor": "proxy",
    "haproxy": "proxy",
    "ray::ServeReplica:default:models": "replica",
    "ray::": "other Ray",
    "raylet": "other Ray",
    "gcs_server": "other Ray",
}
"""Beginning of a process's title, or part of its command -> the column that its processor time is in."""


@dataclass(frozen=True)
class Measured:
    """One way of serving.

    Attributes:
        rate_per_s: with 32 connections.
        alone_ms: median latency of one connection alone.
        cpu_us: processor time of a request with 32 connections, by part, in microseconds.
    """

    rate_per_s: float
    alone_ms: float
    cpu_us: dict[str, float]

    def row(self, title: str) -> tuple[str, ...]:
        """Cells of the table."""
        parts = (f"{self.cpu_us.get(part, 0):.0f}" for part in ("proxy", "replica", "other Ray"))
        return title, f"{self.rate_per_s:,.0f}", f"{self.alone_ms:.2f}", *parts


def of_one_process() -> Measured:
    """``python -m app serve`` with the published models."""
    service = Service(ROOT / "models")
    try:
        return _measured(service.url, service.process.pid)
    finally:
        assert service.stop() == 0


def of_replica(nodes: Nodes) -> Measured:
    """One replica with the published models."""
    nodes.deploy(ROOT / "models", groups=[{"replicas": 1}])
    return _measured(nodes.url)


def _measured(url: str, pid: int | None = None) -> Measured:
    port = urlsplit(url).port
    assert port is not None
    posts = [Post(PATH, (ROOT / "docs/examples/boot.json").read_bytes(), {"Content-Type": "application/json"})]
    core = max(os.sched_getaffinity(0))
    closed_loop(posts, port=port, connections=CONNECTIONS, seconds=2, core=core)
    alone = closed_loop(posts, port=port, connections=1, seconds=SECONDS, core=core)
    before = _processor_seconds(pid)
    load = closed_loop(posts, port=port, connections=CONNECTIONS, seconds=SECONDS, core=core)
    used = _processor_seconds(pid)
    used.subtract(before)
    assert alone.errors == load.errors == 0
    return Measured(
        load.rate_per_s, alone.p50_ms, {part: seconds / load.requests * 1e6 for part, seconds in used.items()}
    )


def _processor_seconds(pid: int | None) -> Counter[str]:
    """Processor time so far, by part; the process ``pid`` counts as a replica."""
    found: Counter[str] = Counter()
    for directory in Path("/proc").glob("[0-9]*"):
        try:
            title = (directory / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            fields = (directory / "stat").read_text().rpartition(")")[2].split()
        except OSError:  # it has ended
            continue
        part = "replica" if directory.name == str(pid) else _part(title)
        if part is not None:
            found[part] += (int(fields[11]) + int(fields[12])) / TICKS_PER_S
    return found


def _part(title: str) -> str | None:
    return next((part for text, part in PARTS.items() if text in title), None)
