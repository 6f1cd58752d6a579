"""Limit on the bytes that all connections of a process buffer together."""

from collections.abc import Iterator
from contextlib import contextmanager

from app.errors import Overloaded


class ByteBudget:
    """Bytes buffered by all connections together: bodies until their requests are answered, or unread replies.

    Args:
        what: name of the bytes, for the message.
        limit_bytes: most bytes over all connections.
    """

    __slots__ = ("held_bytes", "limit_bytes", "what")

    def __init__(self, what: str, limit_bytes: int) -> None:
        self.what = what
        self.limit_bytes = limit_bytes
        self.held_bytes = 0

    def check(self) -> None:
        """Raise ``Overloaded`` if the budget is used up."""
        self.take(1)
        self.release(1)

    def take(self, nbytes: int) -> None:
        """Add ``nbytes`` to the buffered bytes.

        Raises:
            Overloaded: the limit would be exceeded; nothing is added.
        """
        if self.held_bytes + nbytes > self.limit_bytes:
            raise Overloaded(
                f"{self.what} hold {self.held_bytes} bytes; at most {self.limit_bytes} are allowed; try again"
            )
        self.held_bytes += nbytes

    def release(self, nbytes: int) -> None:
        """Subtract ``nbytes`` from the buffered bytes."""
        self.held_bytes -= nbytes

    @contextmanager
    def holding(self, nbytes: int) -> Iterator[None]:
        """Hold ``nbytes`` until the block ends. Raises as ``take`` does."""
        self.take(nbytes)
        try:
            yield
        finally:
            self.release(nbytes)
