"""Calls that stay open until the client or the service ends them: their number, and notifications to them."""

import asyncio
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager

from app.errors import Overloaded

# A stream is notified of a change within this time.
LOOK_EVERY_S = 0.5
MOST_STREAMS = 4_096


class OpenStreams:
    """The open streams of a process. One timer checks for changes for all of them: each alone would wake up as often.

    Args:
        state: of the service, which the streams follow.
        most: streams open in parallel.
    """

    def __init__(self, state: Callable[[], Hashable], *, most: int = MOST_STREAMS) -> None:
        self._state = state
        self._most = most
        self._told: set[Callable[[], None]] = set()
        self._seen: Hashable = None
        self._timer: asyncio.TimerHandle | None = None

    @contextmanager
    def one(self, on_change: Callable[[], None]) -> Iterator[None]:
        """Count a stream until the block ends, and call ``on_change`` whenever the state has changed.

        Raises:
            Overloaded: the maximum number of streams is open.
        """
        if len(self._told) >= self._most:
            raise Overloaded(f"{self._most} streams are open, as many as are allowed; try again")
        if not self._told:
            self._seen = self._state()
            self._look_later()
        self._told.add(on_change)
        try:
            yield
        finally:
            self._told.discard(on_change)
            if not self._told and self._timer is not None:
                self._timer.cancel()

    def _look_later(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(LOOK_EVERY_S, self._look)

    def _look(self) -> None:
        state, before = self._state(), self._seen
        self._seen = state
        self._look_later()
        if state != before:
            for on_change in tuple(self._told):
                on_change()
