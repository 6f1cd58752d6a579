"""Hot reloads under constant load: what they cost the requests, and whether the service gives their memory back."""

import http.client
import itertools
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from app.contract.model_spec import ModelSpec
from benchmarks.startup import service_url

SETTLED_AFTER = 20
"""Reloads after which memory is looked at: the allocator fills its arenas first."""
CLIENTS = 8


@dataclass(frozen=True)
class Reloads:
    """What came of them.

    Attributes:
        reload_s: seconds of each, from the call to its answer.
        resident_mb: memory after each, in 10^6 bytes.
        descriptors, threads: of the process at the start and at the end.
        codes: status code -> requests; 0 counts those without an answer.
        p50_ms, p99_ms: of the requests, from when each was due.
    """

    reload_s: list[float]
    resident_mb: list[float]
    descriptors: tuple[int, int]
    threads: tuple[int, int]
    codes: dict[int, int]
    p50_ms: float
    p99_ms: float

    @property
    def slope_mb(self) -> float:
        """MB that memory grows by with each reload once it has settled, by least squares."""
        settled = self.resident_mb[SETTLED_AFTER:]
        return float(np.polyfit(range(len(settled)), settled, 1)[0]) if len(settled) > 1 else 0.0

    @property
    def lost(self) -> int:
        """Requests that were not answered with 200."""
        return sum(count for code, count in self.codes.items() if code != 200)


@dataclass
class Load:
    """Asks ``rate_per_s`` times a second, whatever comes of it."""

    host: str
    path: str
    body: bytes
    rate_per_s: float
    codes: Counter[int] = field(default_factory=Counter)
    latencies_s: list[float] = field(default_factory=list)
    _numbers: "itertools.count[int]" = field(default_factory=itertools.count)
    _ended: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)
    _began: float = 0.0

    def __enter__(self) -> "Load":
        self._began = time.perf_counter()
        self._threads = [threading.Thread(target=self._run) for _ in range(CLIENTS)]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()

    def _run(self) -> None:
        connection = http.client.HTTPConnection(self.host, timeout=30)
        while not self._ended.is_set():
            due = self._began + next(self._numbers) / self.rate_per_s
            time.sleep(max(0.0, due - time.perf_counter()))
            try:
                connection.request("POST", self.path, self.body, {"Content-Type": "application/octet-stream"})
                reply = connection.getresponse()
                reply.read()
                code = reply.status
            except (OSError, http.client.HTTPException):
                connection.close()
                code = 0
            self.codes[code] += 1
            self.latencies_s.append(time.perf_counter() - due)
        connection.close()


def measure_reloads(source: Path, *, reloads: int, rate_per_s: float) -> Reloads:
    """Publish a version ``reloads`` times, load it, and remove the one before, while requests come in.

    Args:
        source: a published version of a model with one input of fixed shape; its copies are published.
        reloads: how often.
        rate_per_s: requests in a second.

    Raises:
        ValueError: the model has other inputs.
    """
    spec = ModelSpec.read(source)
    if len(spec.inputs) != 1 or spec.inputs[0].is_variable:
        raise ValueError(f"{source}: choose a model with one input of fixed shape, such as fashion-mnist-cnn")
    with tempfile.TemporaryDirectory(prefix="atelier-reload-") as folder:
        model = Path(folder) / spec.name
        _publish(source, model, 1)
        command = [sys.executable, "-m", "app", "serve", "--port", "0", "--models-dir", folder, "--watch", "off"]
        environment = {name: value for name, value in os.environ.items() if not name.startswith("ATELIER_")}
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) as process:
            try:
                host = service_url(process).removeprefix("http://")
                assert process.stderr is not None
                threading.Thread(target=process.stderr.read, daemon=True).start()
                _post(host, f"/v2/repository/models/{spec.name}/load")
                body = bytes(spec.inputs[0].instance_bytes)
                before = _size_of(process.pid)
                reload_s, resident_mb = [], []
                with Load(host, f"/v1/models/{spec.name}:predict", body, rate_per_s) as load:
                    for version in range(2, reloads + 2):
                        _publish(source, model, version)
                        began = time.perf_counter()
                        _post(host, f"/v2/repository/models/{spec.name}/load")
                        reload_s.append(time.perf_counter() - began)
                        shutil.rmtree(model / str(version - 1))
                        resident_mb.append(_size_of(process.pid)[0])
                after = _size_of(process.pid)
            finally:
                process.terminate()
    p50, p99 = np.percentile(load.latencies_s, [50, 99]) * 1e3
    return Reloads(
        reload_s, resident_mb, (before[1], after[1]), (before[2], after[2]), dict(load.codes), float(p50), float(p99)
    )


def _publish(source: Path, model: Path, version: int) -> None:
    staged = model / ".staged"
    shutil.copytree(source, staged)
    staged.rename(model / str(version))


def _post(host: str, path: str) -> None:
    connection = http.client.HTTPConnection(host, timeout=60)
    connection.request("POST", path)
    reply = connection.getresponse()
    found = reply.read()
    connection.close()
    if reply.status != 200:
        raise RuntimeError(f"{path} answered {reply.status}: {json.loads(found)['error']}")


def _size_of(pid: int) -> tuple[float, int, int]:
    """Resident memory in 10^6 bytes, open descriptors, threads."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    resident, threads = (re.search(rf"{key}:\s+(\d+)", status) for key in ("VmRSS", "Threads"))
    assert resident is not None
    assert threads is not None
    return int(resident[1]) * 1024 / 1e6, len(os.listdir(f"/proc/{pid}/fd")), int(threads[1])
