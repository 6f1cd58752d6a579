"""How requests that are already on the way gather before those that have arrived are answered."""

import asyncio
import os
from collections.abc import Callable
from math import inf

from app.types import Clock

# The loop accepts one connection in each of its turns, and gRPC's threads pass on one step of a call at a time. After
# as many turns without any, nothing is on the way.
_QUIET_TURNS = 5
# Most seconds that a request waits for others.
_MOST_WAIT_S = 0.002


class Arrivals:
    """Counts the connections or steps of calls that arrive one by one, and tells when there are none for a moment.

    Without the wait each such request is answered before the next one is taken over, as a batch of one row: on one core
    half as many requests a second (docs/explanation/performance.md has the figures).

    Args:
        clock: monotonic seconds.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._count = 0
        self._last = -inf

    def note(self) -> None:
        """A connection was accepted, or a call has begun, or its message has arrived."""
        self._count += 1
        self._last = self._clock()

    def then(self, call: Callable[[], None], loop: asyncio.AbstractEventLoop) -> None:
        """Call a function when nothing is on the way any more, or some time has passed; in the next turn at least."""
        now = self._clock()
        if now - self._last < _MOST_WAIT_S:
            loop.call_soon(self._look, loop, call, self._count, 0, now + _MOST_WAIT_S)
        else:
            loop.call_soon(call)

    def _look(
        self, loop: asyncio.AbstractEventLoop, call: Callable[[], None], count: int, quiet: int, until: float
    ) -> None:
        quiet = quiet + 1 if count == self._count else 0
        if quiet >= _QUIET_TURNS or self._clock() >= until:
            call()
            return
        os.sched_yield()  # on the only core, gRPC's threads and local clients could not pass on anything
        loop.call_soon(self._look, loop, call, self._count, quiet, until)
