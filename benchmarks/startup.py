"""Seconds until ``python -m app serve`` is ready, and its memory at that time."""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from typing import Any

# The model whose graph is copied.
COPIED = "fashion-mnist-mlp"
# Ways to start with many models.
WAYS = {
    "all at the start": (),
    "two at a time": ("--parallel-loads", "2"),
    "two workers": ("--workers", "2"),
    "two workers, two at a time": ("--workers", "2", "--parallel-loads", "2"),
    "on request": ("--load-models", "on-request"),
    "limit of 300 MiB": ("--model-memory-limit-mb", "300"),
}
# What each model is asked.
INSTANCES, TEXT = 64, "a film that was not good " * 80
# Files younger than a second count as a copy in progress.
AGE_S = 10


@dataclass(frozen=True)
class Startup:
    """One start.

    Attributes:
        ready_s: seconds from the start of the process to the first 200 of /v2/health/ready.
        resident_mb: resident memory just after that, with all libraries imported, in 10^6 bytes.
        used_mb: the same after each model has answered 64 instances in one request; not measured with bare copies.
        estimated_mb: the sum of ``atelier_model_memory_bytes`` then.
        loaded: versions that are loaded then.
    """

    ready_s: float
    resident_mb: float
    used_mb: float
    estimated_mb: float
    loaded: int


def measure_startup(models: Path, *flags: str, uses: bool = False) -> Startup:
    """Start the service with ``models`` once, ask them all if it ``uses`` them, and stop it."""
    start = time.monotonic()
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, "-m", "app", "serve", "--port", "0", "--models-dir", str(models), *flags]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stderr is not None
        # The log of many models is larger than a pipe holds; a service that cannot write it does not go on.
        log = Thread(target=process.stderr.read, daemon=True)
        try:
            url = service_url(process)
            log.start()
            while not _ready(url):
                time.sleep(0.005)
            ready_s = time.monotonic() - start
            with urllib.request.urlopen(url + "/metrics") as reply:  # it needs FastAPI, which then takes memory too
                metrics = reply.read().decode()
            resident_mb = used_mb = _resident_mb(process.pid)
            if uses:
                _use_models(url)
                used_mb = _resident_mb(process.pid)
        finally:
            process.terminate()
            if log.ident is not None:
                log.join()
    estimates = re.findall(r"^atelier_model_memory_bytes\{.*\} (\S+)$", metrics, re.MULTILINE)
    return Startup(ready_s, resident_mb, used_mb, sum(map(float, estimates)) / 1e6, len(estimates))


@contextmanager
def bare_copies(models: Path, count: int) -> Iterator[Path]:
    """A models directory with copies of one graph, each in a version without other files."""
    graph = max((models / COPIED).glob("*/model.onnx"))
    with tempfile.TemporaryDirectory() as place:
        for number in range(count):
            version = Path(place, f"copy-{number:04}", "1")
            version.mkdir(parents=True)
            shutil.copy(graph, version)
            past = time.time() - AGE_S
            os.utime(version / "model.onnx", (past, past))
        yield Path(place)


def service_url(process: "subprocess.Popen[str]") -> str:
    """The address in the service's log."""
    assert process.stderr is not None
    for line in process.stderr:
        if found := re.search(r"running on (http://\S+)", line):
            return found[1]
    raise RuntimeError("the service ended before it listened")


def _resident_mb(pid: int) -> float:
    """Of a process and those that it has started."""
    process = Path(f"/proc/{pid}")
    found = re.search(r"VmRSS:\s+(\d+) kB", (process / "status").read_text(encoding="utf-8"))
    assert found is not None
    children = (process / "task" / str(pid) / "children").read_text(encoding="utf-8").split()
    return int(found[1]) * 1024 / 1e6 + sum(_resident_mb(int(child)) for child in children)


def _use_models(url: str) -> None:
    """Black images, or texts of 480 words, to every model."""
    for name in _get(url + "/v1/models")["models"]:
        tensor = _get(f"{url}/v2/models/{name}")["inputs"][0]
        one: object = 0
        for size in reversed(tensor["shape"][1:]):  # -1, of texts, is none
            one = [one] * size
        instances = [TEXT if tensor["datatype"] == "INT32" else one] * INSTANCES
        body = json.dumps({"instances": instances}).encode()
        request = urllib.request.Request(f"{url}/v1/models/{name}:predict", body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request) as reply:
            reply.read()


def _get(url: str) -> Any:
    with urllib.request.urlopen(url) as reply:
        return json.load(reply)


def _ready(url: str) -> bool:
    try:
        with urllib.request.urlopen(url + "/v2/health/ready") as reply:
            return bool(reply.status == 200)
    except urllib.error.HTTPError:
        return False
