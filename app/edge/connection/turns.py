"""Lets connections read in turns, so that very many requests at once do not hold up the event loop."""

import asyncio
import time
from collections import deque
from typing import Protocol

from app.edge.entry.probes import PATHS

# Seconds in each turn of the event loop in which connections parse requests and start their answers.
TURN_S = 0.005
# Counted for an answer that starts later in the same turn, in a task of its own; the slowest routes take 1 ms.
TASK_S = 0.0003
# While connections arrive faster than they are accepted, so many are accepted for each short turn of requests.
ACCEPTS = 16
# Health checks do not wait for a turn: to answer all other requests of a burst may take seconds.
_HEALTH = tuple(b"GET %b HTTP/1." % path.encode() for path in PATHS)
_END = b"\r\n\r\n"


class Reader(Protocol):
    """A connection that has something to do."""

    def read_on(self) -> None:
        """Its turn: continue with what has waited."""
        ...


class Turns:
    """Divides the time of the event loop among connections, in order of arrival.

    The loop reads from every socket that has data before it does anything else. With thousands of them, the first
    answers and the health checks would wait until the last request is parsed. And it accepts one connection at a time:
    with thousands of new ones, a health check would wait until those before it are accepted and their requests
    answered.
    """

    def __init__(self) -> None:
        self._waiting: deque[Reader] = deque()
        self._is_in_turn = False
        self._until = 0.0
        self._has_accepted = False
        self._accepts = 0  # since the last turn of requests

    def accepted(self, loop: asyncio.AbstractEventLoop) -> None:
        """Count a new connection. More may wait to be accepted, which costs less than to answer the requests before."""
        if not self._is_in_turn:
            self._begin(loop)
        self._until, self._has_accepted = 0.0, True
        self._accepts += 1

    def must_wait(self, data: bytes, loop: asyncio.AbstractEventLoop) -> bool:
        """Whether a connection must keep received bytes, and call ``wait``."""
        if not self._is_in_turn:
            self._begin(loop)
            return False
        return (bool(self._waiting) or time.perf_counter() >= self._until) and not _is_health(data)

    def wait(self, reader: Reader, loop: asyncio.AbstractEventLoop) -> None:
        """Call ``read_on`` of a connection in one of the next turns. It must not wait already."""
        if not self._is_in_turn:
            self._begin(loop)
        self._waiting.append(reader)

    def spend(self, seconds: float) -> None:
        """Count time that this turn will need later."""
        self._until -= seconds

    def _begin(self, loop: asyncio.AbstractEventLoop) -> None:
        self._is_in_turn, self._until = True, time.perf_counter() + TURN_S
        loop.call_soon(self._next, loop)

    def _next(self, loop: asyncio.AbstractEventLoop) -> None:
        self._is_in_turn = False
        if self._waiting or self._has_accepted:
            self._begin(loop)
        if self._has_accepted:
            self._has_accepted = False
            self.spend(TURN_S)
            if self._accepts >= ACCEPTS:
                self._accepts = 0
                self.spend(-TASK_S)
        while self._waiting and time.perf_counter() < self._until:
            self._waiting.popleft().read_on()


def _is_health(data: bytes) -> bool:
    """Whether the bytes are a health check and nothing else: what follows one must not pass the turns with it."""
    return data.startswith(_HEALTH) and data.find(_END) == len(data) - len(_END)
