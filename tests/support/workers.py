"""Questions to a service with several workers, over new connections, so that any of them may answer."""

import os
import re
import signal
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import httpx
from prometheus_client.parser import text_string_to_metric_families

from tests.support.service import Service, wait_until

# In parallel, so that a busy worker leaves connections to the other.
CLIENTS = 8


class Workers:
    """A service that was started with ``--workers``."""

    def __init__(self, service: Service, number: int = 2) -> None:
        self.service = service
        self.number = number
        self.client = httpx.Client(
            base_url=service.url, timeout=30, limits=httpx.Limits(max_connections=64, max_keepalive_connections=0)
        )

    def pids(self) -> dict[int, int]:
        """Worker -> process, of those that took requests last."""
        return {
            int(number): int(pid)
            for number, pid in re.findall(r"worker (\d+) \(process (\d+)\) takes requests", self.service.log)
        }

    def kill(self, number: int) -> int:
        """Kill a worker; returns its process id."""
        pid = self.pids()[number]
        os.kill(pid, signal.SIGKILL)
        return pid

    def wait_for_another(self, number: int, old: int) -> None:
        """Wait until another process takes the requests of that worker."""
        wait_until(lambda: self.pids()[number] != old)

    def samples(self) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
        """A scrape: name and labels -> value."""
        text = self.client.get("/metrics").text
        families = text_string_to_metric_families(text)
        return {(s.name, frozenset(s.labels.items())): s.value for family in families for s in family.samples}

    def metric(self, name: str, **labels: str) -> float:
        """Sum of the samples of that name with those labels."""
        return sum(
            value for (found, own), value in self.samples().items() if found == name and labels.items() <= set(own)
        )

    def answered(self) -> dict[str, float]:
        """Worker -> inference requests that it has answered."""
        return {
            dict(labels)["worker"]: value
            for (name, labels), value in self.samples().items()
            if name == "atelier_worker_requests_total"
        }

    def ask_all(self, ask: Callable[[httpx.Client], Any], *, most: int = 3) -> list[Any]:
        """Answers to an inference request, until every worker has answered at least ``most``."""
        before, answers = self.answered(), []

        def have_all_answered() -> bool:
            with ThreadPoolExecutor(CLIENTS) as pool:
                answers.extend(pool.map(ask, [self.client] * CLIENTS))
            return all(count - before[worker] >= most for worker, count in self.answered().items())

        wait_until(have_all_answered)
        return answers

    def close(self) -> None:
        self.client.close()


class Load:
    """Clients that send requests continuously, each over its own connection; a context manager.

    Attributes:
        codes: status codes of all answers.
        lost: requests without an answer.
    """

    def __init__(self, service: Service, body: dict[str, Any], *, clients: int = CLIENTS) -> None:
        self.codes: list[int] = []
        self.lost = 0
        self._service, self._body = service, body
        self._done = threading.Event()
        self._threads = [threading.Thread(target=self._ask) for _ in range(clients)]

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        wait_until(lambda: len(self.codes) > 2 * CLIENTS)
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        for thread in self._threads:
            thread.join()

    def _ask(self) -> None:
        with httpx.Client(base_url=self._service.url, timeout=30) as client:
            while not self._done.is_set():
                try:
                    self.codes.append(client.post("/v1/models/brightness:predict", json=self._body).status_code)
                except httpx.TransportError:
                    self.lost += 1


class Watch:
    """Scrapes all the time and remembers what has fallen of what must not; a context manager.

    Attributes:
        fallen: what fell, with the values before and after.
        scrapes: how many there were.
    """

    def __init__(self, workers: Workers) -> None:
        self.fallen: list[str] = []
        self.scrapes = 0
        self._workers = workers
        self._last: dict[Any, float] = {}
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._look)

    def __enter__(self) -> "Watch":
        self._thread.start()
        wait_until(lambda: self.scrapes > 1)
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._done.is_set():
            with suppress(httpx.TransportError):  # a request to the worker that was killed
                self._compare(self._totals())
                self.scrapes += 1

    def _totals(self) -> dict[Any, float]:
        scraped = self._workers.samples().items()
        found: dict[Any, float] = {
            key: value for key, value in scraped if key[0].endswith(("_total", "_count", "_bucket", "_sum"))
        }
        for entry in self._workers.client.get("/v2/models/stats").json()["model_stats"]:
            found["stats", entry["name"], entry["version"]] = entry["inference_count"]
        return found

    def _compare(self, now: dict[Any, float]) -> None:
        self.fallen += [
            f"{key}: {value} to {now.get(key, 0)}" for key, value in self._last.items() if now.get(key, 0) < value
        ]
        self._last = now
