"""Bytes that all connections of a process may hold together."""

from collections.abc import Iterator
from contextlib import contextmanager

from app.errors import Overloaded


class ByteBudget:
    """Bytes that all connections hold together: of bodies before their requests are admitted, or of unread replies.

    Args:
        what: holds them, for the message.
        limit_bytes: most bytes of all.
    """

    __slots__ = ("held_bytes", "limit_bytes", "what")

    def __init__(self, what: str, limit_bytes: int) -> None:
        self.what = what
        self.limit_bytes = limit_bytes
        self.held_bytes = 0

    def check(self) -> None:
        """Raise ``Overloaded`` if there is no room at all."""
        self.take(1)
        self.release(1)

    def take(self, nbytes: int) -> None:
        """Hold so many bytes more.

        Raises:
            Overloaded: there is no room for them, and they are not held.
        """
        if self.held_bytes + nbytes > self.limit_bytes:
            raise Overloaded(
                f"{self.what} hold {self.held_bytes} bytes; at most {self.limit_bytes} are allowed; try again"
            )
        self.held_bytes += nbytes

    def release(self, nbytes: int) -> None:
        """Hold so many bytes less."""
        self.held_bytes -= nbytes

    @contextmanager
    def holding(self, nbytes: int) -> Iterator[None]:
        """Hold so many bytes meanwhile; raises as ``take`` does."""
        self.take(nbytes)
        try:
            yield
        finally:
            self.release(nbytes)
