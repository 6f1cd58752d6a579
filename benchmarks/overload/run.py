"""Measures overload: service and load on one core each, the bare server at the same rates in the same run."""

import http.client
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from app.contract.model_spec import ModelSpec
from app.repository.places import Places
from app.repository.scan import scan
from benchmarks.serving.process import free_port, running, two_cores

SHARE = 0.9
"""Share of the capacity left after refusals that must be answered."""
# Connections of the closed loop that finds the capacity: two full batches, which wait up to 0.2 s.
CLIENTS = 32
OTHER_RATE_PER_S = 50
OTHER = "fashion-mnist-mlp"
FLOOR = Path(__file__).parents[1] / "serving" / "peers" / "floor.py"
PATIENCE_S = 5.0
WARM_UP_S = 1.0


@dataclass(frozen=True)
class Point:
    """One load on one model.

    Attributes:
        model, factor: the model, and the offered rate as a multiple of its capacity.
        deadline_ms: its default timeout; 0: the service's own, 30 s.
        max_queue_s: its limit of waiting work.
        capacity_per_s: C, answers per second to 32 clients in a closed loop.
        refusal_us: r, processor microseconds of one refusal, without the cost of the answers.
        floor_us: of one constant reply of the bare server, r_floor.
        good_per_s, required_per_s: answers per second in time, and SHARE * C * (1 - (k - 1) * C * r_floor).
        counts: outcome -> requests; "timed out" includes requests for which the client had no free connection.
        answered_p99_ms, refused_p99_ms, floor_p99_ms: from when each was due.
        other_p99_ms, other_alone_p99_ms: of another model at 50 requests per second, at the same time and alone.
    """

    model: str
    factor: float
    deadline_ms: int
    max_queue_s: float
    capacity_per_s: float
    refusal_us: float
    floor_us: float
    good_per_s: float
    required_per_s: float
    counts: dict[str, int]
    answered_p99_ms: float
    refused_p99_ms: float
    floor_p99_ms: float
    other_p99_ms: float
    other_alone_p99_ms: float

    @property
    def missed(self) -> list[str]:
        """Missed requirements, in words."""
        found = []
        if self.good_per_s < self.required_per_s:
            found.append(f"goodput {self.good_per_s:,.0f}, required {self.required_per_s:,.0f}")
        if self.refused_p99_ms > 2 * self.floor_p99_ms:
            found.append(f"refusal p99 {self.refused_p99_ms:.1f} ms, twice the floor is {2 * self.floor_p99_ms:.1f}")
        if self.other_p99_ms > 3 * self.other_alone_p99_ms:
            found.append(f"other p99 {self.other_p99_ms:.1f} ms, alone {self.other_alone_p99_ms:.1f}")
        found += [f"{count} {kind}" for kind, count in self.counts.items() if kind not in {"answered", "refused"}]
        return found


def measure(
    models: Path,
    work: Path,
    names: list[str],
    *,
    loads: list[float],
    deadlines_ms: list[int],
    queues_s: list[float],
    seconds: float,
    repeats: int,
    told: Callable[[str], None],
) -> list[Point]:
    """Measure every model at every load, with every timeout and limit; medians of the repeats, in turn."""
    found: dict[tuple[Any, ...], list[Point]] = {}
    settings = list(product(names, deadlines_ms, queues_s))
    for repeat in range(repeats):
        for name, deadline_ms, queue_s in settings:
            told(f"repeat {repeat + 1}: {name}, deadline {deadline_ms or 'none'}, max_queue_s {queue_s:g}")
            for point in _one(models, work, name, loads, deadline_ms, queue_s, seconds):
                found.setdefault((name, deadline_ms, queue_s, point.factor), []).append(point)
    return [_median(points) for points in found.values()]


def _one(
    models: Path, work: Path, name: str, loads: list[float], deadline_ms: int, queue_s: float, seconds: float
) -> Iterator[Point]:
    batching = {"max_queue_s": queue_s} | ({"default_timeout_ms": deadline_ms} if deadline_ms else {})
    with _service(models, work, name, batching) as (pid, port), _floor(work) as (floor_pid, floor_port):
        asked = _request(models, name, f"/v1/models/{name}:predict", port)
        other = _request(models, OTHER, f"/v1/models/{OTHER}:predict", port) | {"rate_per_s": OTHER_RATE_PER_S}
        plain = {**_request(models, name, "/135", floor_port), "name": "floor"}
        capacity = _load({"saturate": True, "seconds": seconds, "connections": CLIENTS, "streams": [asked]})[
            "answered_per_s"
        ]
        alone = _offer([other], seconds)[0]
        for factor in loads:
            rate = factor * capacity
            before = _cpu_s(floor_pid)
            floor = _offer([plain | {"rate_per_s": rate}], seconds)[0]
            floor_s = (_cpu_s(floor_pid) - before) / _offered(rate, seconds)
            before = _cpu_s(pid)
            mine, others = _offer([asked | {"rate_per_s": rate}, other], seconds)
            spent_s = _cpu_s(pid) - before
            # Includes the warm-up, whose processor time is counted too; its rates are assumed to be the same.
            share = (seconds + WARM_UP_S) / seconds
            answers, refusals = (share * mine["counts"].get(kind, 0) for kind in ("answered", "refused"))
            yield Point(
                model=name,
                factor=factor,
                deadline_ms=deadline_ms,
                max_queue_s=queue_s,
                capacity_per_s=capacity,
                refusal_us=max(0.0, spent_s - answers / capacity) / refusals * 1e6 if refusals else 0.0,
                floor_us=floor_s * 1e6,
                good_per_s=mine["answered_per_s"],
                required_per_s=SHARE * min(rate, capacity * max(0.0, 1 - max(0.0, factor - 1) * capacity * floor_s)),
                counts=mine["counts"],
                answered_p99_ms=mine["answered_p99_ms"],
                refused_p99_ms=mine["refused_p99_ms"],
                floor_p99_ms=floor["answered_p99_ms"],
                other_p99_ms=others["answered_p99_ms"],
                other_alone_p99_ms=alone["answered_p99_ms"],
            )


def _offered(rate: float, seconds: float) -> float:
    return rate * (seconds + WARM_UP_S)


@contextmanager
def _service(models: Path, work: Path, name: str, batching: dict[str, float]) -> Iterator[tuple[int, int]]:
    with tempfile.TemporaryDirectory(prefix="atelier-overload-") as folder:
        for each in {name, OTHER}:
            version = scan(Places(models))[each][0]
            shutil.copytree(models / each / str(version), Path(folder) / each / str(version))
        (Path(folder) / name / "serving.json").write_text(json.dumps({"batching": batching}))
        port = free_port()
        command = [sys.executable, "-m", "app", "serve", "--port", str(port), "--models-dir", folder, "--watch", "off"]
        with _process(command, {}, port, work / f"overload-{name}.log", "/v2/health/ready") as pid:
            yield pid, port


@contextmanager
def _floor(work: Path) -> Iterator[tuple[int, int]]:
    port = free_port()
    command = [sys.executable, str(FLOOR)]
    with _process(command, {"PEER_PORT": str(port)}, port, work / "overload-floor.log", "/135") as pid:
        yield pid, port


@contextmanager
def _process(command: list[str], more: dict[str, str], port: int, log: Path, path: str) -> Iterator[int]:
    environment = {**{key: value for key, value in os.environ.items() if not key.startswith("ATELIER_")}, **more}

    with running(
        command,
        environment,
        port=port,
        core=two_cores().server,
        log=log,
        directory=Path.cwd(),
        answers=lambda: _wrong(port, path),
    ) as server:
        yield server.pid


def _wrong(port: int, path: str) -> str | None:
    """None if a GET is answered with 200, otherwise the reason."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path)
        status = connection.getresponse().status
        return None if status == 200 else f"status {status}"
    except OSError as error:
        return str(error)
    finally:
        connection.close()


def _request(models: Path, name: str, path: str, port: int) -> dict[str, Any]:
    """A request with one random instance, as raw bytes."""
    spec = ModelSpec.read(models / name / str(scan(Places(models))[name][0]))
    body = np.random.default_rng(0).integers(0, 256, spec.inputs[0].instance_bytes, dtype=np.uint8).tobytes()
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/octet-stream\r\n"
    return {"name": name, "port": port, "request": (f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body).hex()}


def _offer(streams: list[dict[str, Any]], seconds: float) -> list[dict[str, Any]]:
    plan = {"streams": streams, "seconds": seconds, "warm_up_s": WARM_UP_S, "patience_s": PATIENCE_S}
    found: list[dict[str, Any]] = _load(plan)["streams"]
    return found


def _load(plan: dict[str, Any]) -> dict[str, Any]:
    command = ["taskset", "--cpu-list", str(two_cores().load), sys.executable, "-m", "benchmarks.overload.generator"]
    done = subprocess.run(command, input=json.dumps(plan), capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr)
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def _cpu_s(pid: int) -> float:
    """Processor seconds of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _median(points: list[Point]) -> Point:
    """The median of each figure; counts are summed."""
    documents = [asdict(point) for point in points]
    merged = dict(documents[0])
    for key, value in merged.items():
        if isinstance(value, float) and key not in {"factor", "max_queue_s"}:
            merged[key] = median(document[key] for document in documents)
    counts = [document["counts"] for document in documents]
    merged["counts"] = {
        kind: sum(each.get(kind, 0) for each in counts) for kind in sorted({k for c in counts for k in c})
    }
    return Point(**merged)
