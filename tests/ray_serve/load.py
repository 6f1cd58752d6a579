"""Clients that send one request after the other, and what became of each."""

import http.client
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit

HEADERS = {"content-type": "application/octet-stream"}
LOST = 0
"""Status of a request whose connection ended."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One request: its status, and when it was sent and answered, in monotonic seconds."""

    status: int
    sent: float
    answered: float


@dataclass
class Load:
    """Answers so far; the threads only append."""

    answers: list[Answer] = field(default_factory=list)

    @property
    def statuses(self) -> Counter[int]:
        """Number of answers by status."""
        return Counter(each.status for each in list(self.answers))

    @property
    def failed(self) -> list[Answer]:
        """Those other than 200."""
        return [each for each in list(self.answers) if each.status != 200]

    def good_since(self, moment: float) -> int:
        """Requests that were sent after ``moment`` and answered with 200."""
        return sum(each.status == 200 and each.sent > moment for each in list(self.answers))


@contextmanager
def clients(url: str, path: str, body: bytes, *, count: int) -> Iterator[Load]:
    """``count`` clients at work meanwhile."""
    load, stop = Load(), threading.Event()
    place = urlsplit(url)
    threads = [
        threading.Thread(target=_ask, args=(place.hostname, place.port, path, body, load, stop)) for _ in range(count)
    ]
    for thread in threads:
        thread.start()
    try:
        yield load
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def _ask(host: str, port: int, path: str, body: bytes, load: Load, stop: threading.Event) -> None:
    connection = http.client.HTTPConnection(host, port, timeout=60)
    while not stop.is_set():
        sent = time.monotonic()
        try:
            connection.request("POST", path, body, HEADERS)
            reply = connection.getresponse()
            reply.read()
            status = reply.status
        except (OSError, http.client.HTTPException):
            connection.close()
            status = LOST
        load.answers.append(Answer(status, sent, time.monotonic()))
    connection.close()
