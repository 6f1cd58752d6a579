"""What HTTP connections may hold and how long they may take, and the watch over both."""

import asyncio
from dataclasses import dataclass
from typing import Protocol

from app.edge.budget import ByteBudget

# The watch over all connections looks so often; a timer for each request would cost more than most requests.
SWEEP_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpLimits:
    """Limits of one process.

    Attributes:
        max_connections: open at once.
        head_limit_bytes: request line and headers of one request.
        max_headers: of one request.
        body_limit_bytes: body of one request.
        bodies_limit_bytes: bodies of all requests that are not answered yet.
        replies_limit_bytes: what clients have not read of their replies, where that is more than 64 KiB.
        head_timeout_s: from the first byte of a head to its last, and for the first byte of a new connection.
        body_timeout_s: for a body, and one second more for each ``body_rate_bytes`` that have come.
        body_rate_bytes: slowest rate a second.
        send_timeout_s: for a client to read some of its reply.
        keep_alive_s: between two requests.
    """

    max_connections: int = 4_096
    head_limit_bytes: int = 32_768
    max_headers: int = 100
    body_limit_bytes: int = 16 * 2**20
    bodies_limit_bytes: int = 256 * 2**20
    replies_limit_bytes: int = 256 * 2**20
    head_timeout_s: float = 10.0
    body_timeout_s: float = 20.0
    body_rate_bytes: int = 16_384
    send_timeout_s: float = 30.0
    keep_alive_s: float = 5.0


class Watched(Protocol):
    """A connection as the sweep sees it."""

    def end_if_overdue(self, now: float) -> None:
        """Refuse or close what has taken too long."""
        ...


class Connections:
    """All HTTP connections of a process.

    Args:
        limits: on each and on all.
    """

    def __init__(self, limits: HttpLimits) -> None:
        self.limits = limits
        self.bodies = ByteBudget("the bodies of unanswered requests", limits.bodies_limit_bytes)
        self.unread = ByteBudget("replies that their clients do not read", limits.replies_limit_bytes)
        self._open: set[Watched] = set()
        self._sweeping: asyncio.TimerHandle | None = None

    @property
    def is_full(self) -> bool:
        """Whether there are more than allowed."""
        return len(self._open) > self.limits.max_connections

    def add(self, connection: Watched, loop: asyncio.AbstractEventLoop) -> None:
        """A connection was opened."""
        self._open.add(connection)
        if self._sweeping is None:
            self._sweep_soon(loop)

    def remove(self, connection: Watched) -> None:
        """A connection was closed."""
        self._open.discard(connection)

    def _sweep(self, loop: asyncio.AbstractEventLoop, due: float) -> None:
        now = loop.time()
        # A process that was stopped, or starved, has not read yet what clients sent in time.
        if now - due < SWEEP_S:
            for connection in tuple(self._open):
                connection.end_if_overdue(now)
        self._sweeping = None
        if self._open:
            self._sweep_soon(loop)

    def _sweep_soon(self, loop: asyncio.AbstractEventLoop) -> None:
        self._sweeping = loop.call_later(SWEEP_S, self._sweep, loop, loop.time() + SWEEP_S)
