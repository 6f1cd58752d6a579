"""The unread replies of a client: the memory they take, and the time limit for reading them."""

from asyncio import Transport

from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT

from app.edge.budget import ByteBudget
from app.edge.connection.limits import HttpLimits
from app.errors import Overloaded


class UnreadReplies:
    """Unread bytes of one connection.

    Args:
        transport: buffers the bytes.
        budget: for all connections.
        limits: on the time to read.
    """

    def __init__(self, transport: Transport, budget: ByteBudget, limits: HttpLimits) -> None:
        self._transport = transport
        self._budget = budget
        self._limits = limits
        self._held_bytes = 0
        # Unread bytes at the last check, and the most since they were last 0.
        self._unsent_bytes = self._most_unsent_bytes = 0
        self._since = 0.0

    def hold(self) -> None:
        """The client reads more slowly than it is answered: count the unread bytes, or abort at the limit."""
        unread = self._transport.get_write_buffer_size()
        try:
            self._budget.take(unread)
        except Overloaded:
            self._transport.abort()
        else:
            self._held_bytes += unread

    def release(self) -> None:
        """The client has read nearly everything, or left."""
        self._budget.release(self._held_bytes)
        self._held_bytes = 0

    def are_stuck(self, now: float) -> bool:
        """Whether the client read nothing of its reply for too long, or reads a large one too slowly."""
        unsent = self._transport.get_write_buffer_size()
        if unsent == 0 or unsent > self._most_unsent_bytes:
            self._since = now
            self._unsent_bytes = self._most_unsent_bytes = unsent
            return False
        waited_s = now - self._since
        if unsent > HIGH_WATER_LIMIT:  # part of one reply: nothing is added to it
            sent = self._most_unsent_bytes - unsent
            return waited_s > self._limits.send_timeout_s + sent / self._limits.body_rate_bytes
        if unsent < self._unsent_bytes:
            self._since = now
        self._unsent_bytes = unsent
        return waited_s > self._limits.send_timeout_s
