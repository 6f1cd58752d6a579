"""Lets connections read in turns, so that very many simultaneous requests do not block the event loop."""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from math import inf
from typing import Protocol

from app.edge.entry.probes import PATHS
from app.edge.rest.routes import V1_VERBS

# Seconds in each turn of the event loop in which connections parse requests and start their answers. Inference has
# more of them: keeping a request costs a quarter of its refusal, which under overload takes time from answers.
TURN_S, INFERENCE_TURN_S = 0.005, 0.05
# Counted for an answer that starts later in the same turn, in a separate task; the slowest routes take 1 ms.
TASK_S = 0.0003
# While connections arrive faster than they are accepted, this many are accepted for each short turn of other requests.
ACCEPTS = 16
# Health checks do not wait for a turn: to answer all other requests of a burst may take seconds.
_HEALTH = tuple(b"GET %b HTTP/1." % path.encode() for path in PATHS)
END_OF_HEAD = b"\r\n\r\n"
# The requests that are answered, or refused, without a task; a target that is longer than this is not one of them.
_INFERENCE = (*(f":{verb}".encode() for verb in V1_VERBS), b"/infer")
_TARGET_BYTES = 512


class Reader(Protocol):
    """A connection that has something to do."""

    def read_on(self) -> None:
        """Called in its turn: continue with the waiting bytes."""
        ...


class _Lane:
    """The waiting connections, and until when they may read in this turn."""

    def __init__(self) -> None:
        self.waiting: deque[Reader] = deque()
        self.until = 0.0

    def read(self, *, until: float) -> None:
        """Let them read, in order of arrival."""
        while self.waiting and time.perf_counter() < min(until, self.until):
            self.waiting.popleft().read_on()


class Turns:
    """Divides the time of the event loop among connections, in order of arrival.

    The loop reads from every socket that has data before it does anything else. With thousands of them, the first
    answers and the health checks would wait until the last request is parsed. And it accepts one connection at a time:
    with thousands of new ones, a health check would wait until those before it are accepted and their requests
    answered. So new connections come before other requests, but not before inference: under overload a client opens
    connections because the others wait for answers, and the more of them are delayed, the more it opens.

    Args:
        rest: called at the end of each turn that leaves nobody waiting.
    """

    def __init__(self, rest: Callable[[], None] | None = None) -> None:
        self.rest = rest
        self._inference, self._others = _Lane(), _Lane()
        self._is_in_turn = False
        self._has_accepted = False
        self._accepts = 0  # since the last turn of other requests

    def accepted(self, loop: asyncio.AbstractEventLoop) -> None:
        """Count a new connection. More may wait to be accepted, which costs less than to answer other requests."""
        if not self._is_in_turn:
            self._begin(loop)
        self._others.until, self._has_accepted = 0.0, True
        self._accepts += 1

    def must_wait(self, data: bytes, loop: asyncio.AbstractEventLoop) -> bool:
        """Whether a connection must keep received bytes, and call ``wait``."""
        if not self._is_in_turn:
            self._begin(loop)
            return False
        now = time.perf_counter()
        if now < self._others.until and not self._others.waiting and not self._inference.waiting:
            return False
        lane = self._lane(data)
        return (bool(lane.waiting) or now >= lane.until) and not _is_health(data)

    def wait(self, reader: Reader, data: bytes, loop: asyncio.AbstractEventLoop) -> None:
        """Call ``read_on`` of a connection in one of the next turns. It must not wait already.

        Args:
            reader: the connection.
            data: what it has received and not parsed.
            loop: of the connection.
        """
        if not self._is_in_turn:
            self._begin(loop)
        self._lane(data).waiting.append(reader)

    def spend(self, seconds: float) -> None:
        """Count time that this turn will need later."""
        self._inference.until -= seconds
        self._others.until -= seconds

    def _lane(self, data: bytes) -> _Lane:
        return self._inference if _is_inference(data) else self._others

    def _begin(self, loop: asyncio.AbstractEventLoop) -> None:
        self._is_in_turn = True
        now = time.perf_counter()
        self._inference.until, self._others.until = now + INFERENCE_TURN_S, now + TURN_S
        loop.call_soon(self._next, loop)

    def _next(self, loop: asyncio.AbstractEventLoop) -> None:
        self._is_in_turn = False
        if not (self._inference.waiting or self._others.waiting or self._has_accepted):
            if self.rest is not None:
                self.rest()
            return
        self._begin(loop)
        if self._has_accepted:
            self._has_accepted = False
            self._others.until -= TURN_S
            if self._accepts >= ACCEPTS:
                self._accepts = 0
                self._others.until += TASK_S
        # A quarter of the turn first: under overload, inference would take all of it.
        self._others.read(until=time.perf_counter() + TURN_S / 4)
        self._inference.read(until=inf)
        self._others.read(until=inf)


def _is_health(data: bytes) -> bool:
    """Whether the bytes are a health check and nothing else: what follows one must not pass the turns with it."""
    return data.startswith(_HEALTH) and data.find(END_OF_HEAD) == len(data) - len(END_OF_HEAD)


def _is_inference(data: bytes) -> bool:
    """Whether the bytes start with a request for inference."""
    return data[:5] == b"POST " and data[: data.find(b" ", 5, _TARGET_BYTES)].endswith(_INFERENCE)
