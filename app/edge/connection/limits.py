"""Size and time limits of HTTP connections, and the sweep that enforces the time limits."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from app.edge.budget import ByteBudget
from app.edge.connection.known_heads import KnownHeads
from app.edge.connection.turns import Turns

log = logging.getLogger("atelier.edge")

# Interval of the sweep over all connections; a timer for each request would cost more than most requests.
SWEEP_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpLimits:
    """Limits of one process: the settings of the same names.

    Attributes:
        max_connections: most open connections.
        head_limit_bytes: request line and headers of one request.
        max_headers: of one request.
        body_limit_bytes: body of one request.
        bodies_limit_bytes: bodies of all unanswered requests together.
        replies_limit_bytes: unread replies of all clients together; a client counts from 64 KiB on.
        head_timeout_s: from the first byte of a head to its last, and for the first byte of a new connection.
        body_timeout_s: for a body, plus one second for each ``body_rate_bytes`` received.
        body_rate_bytes: lowest rate, in bytes per second.
        send_timeout_s: for a client to read part of its reply.
        keep_alive_s: between two requests.
    """

    max_connections: int
    head_limit_bytes: int
    max_headers: int
    body_limit_bytes: int
    bodies_limit_bytes: int
    replies_limit_bytes: int
    head_timeout_s: float
    body_timeout_s: float
    body_rate_bytes: int
    send_timeout_s: float
    keep_alive_s: float


class Watched(Protocol):
    """A connection, as the sweep uses it."""

    def end_if_overdue(self, now: float) -> None:
        """Refuse or close a connection that exceeded its time."""
        ...


class Connections:
    """All HTTP connections of a process.

    Args:
        limits: on each and on all.
        rest: see ``Turns``.
    """

    def __init__(self, limits: HttpLimits, rest: Callable[[], None] | None = None) -> None:
        self.limits = limits
        self.bodies = ByteBudget("the bodies of unanswered requests", limits.bodies_limit_bytes)
        self.unread = ByteBudget("replies that their clients do not read", limits.replies_limit_bytes)
        self.turns = Turns(rest)
        self.heads = KnownHeads()
        self._open: set[Watched] = set()
        self._sweeping: asyncio.TimerHandle | None = None

    @property
    def is_full(self) -> bool:
        """Whether more connections are open than allowed."""
        return len(self._open) > self.limits.max_connections

    def add(self, connection: Watched, loop: asyncio.AbstractEventLoop) -> None:
        """Count an opened connection."""
        self._open.add(connection)
        if self._sweeping is None:
            self._sweep_soon(loop)

    def remove(self, connection: Watched) -> None:
        """Count a closed connection."""
        self._open.discard(connection)

    def _sweep(self, loop: asyncio.AbstractEventLoop, due: float) -> None:
        now = loop.time()
        # A process that was stopped or starved has not yet read data that its clients sent in time.
        if now - due < SWEEP_S:
            for connection in tuple(self._open):
                try:
                    connection.end_if_overdue(now)
                except Exception:  # the other connections have limits too
                    log.exception("a connection could not be ended")
        self._sweeping = None
        if self._open:
            self._sweep_soon(loop)

    def _sweep_soon(self, loop: asyncio.AbstractEventLoop) -> None:
        self._sweeping = loop.call_later(SWEEP_S, self._sweep, loop, loop.time() + SWEEP_S)
