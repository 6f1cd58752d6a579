"""A real service process on a free port."""

import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx

ROOT = Path(__file__).parents[2]


class Service:
    """``python -m app serve`` as an operator starts it.

    Args:
        models: models directory.
        arguments: further flags.
        wait_ready: return only once /v2/health/ready answers 200.
    """

    def __init__(self, models: Path, *arguments: str, wait_ready: bool = True) -> None:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("ATELIER_")}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "app", "serve", "--port", "0", "--models-dir", str(models), *arguments],
            cwd=ROOT,
            env=environment,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.lines: list[str] = []
        self._listening = threading.Event()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self._listening.wait(30)
        found = re.search(r"running on (http://\S+)", self.log)
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

    def wait_until_ready(self) -> None:
        deadline = time.monotonic() + 30
        while self.client.get("/v2/health/ready").status_code != 200:
            assert time.monotonic() < deadline, self.log
            time.sleep(0.02)

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
