"""How calls that are already on the way gather before those that have arrived are answered."""

import asyncio
import os
from collections.abc import Callable

from app.types import Clock

# gRPC takes over one call at a time: each step of a call is an event that one of its threads passes to the event loop.
# After as many turns of the loop without any, nothing is on the way.
_QUIET_TURNS = 5
# Most seconds that a call waits for others.
_MOST_WAIT_S = 0.002


class Arrivals:
    """Counts the steps of calls, and tells when there are none for a moment.

    Without the wait each call is answered before gRPC takes over the next one, as a batch of one row: on one core half
    as many calls a second (docs/explanation/performance.md has the figures).

    Args:
        clock: monotonic seconds.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._steps = 0

    def note(self) -> None:
        """A call has begun, or its message has arrived."""
        self._steps += 1

    def then(self, call: Callable[[], None]) -> None:
        """Call a function when no further call is on the way, or some time has passed."""
        loop = asyncio.get_running_loop()
        loop.call_soon(self._look, loop, call, self._steps, 0, self._clock() + _MOST_WAIT_S)

    def _look(
        self, loop: asyncio.AbstractEventLoop, call: Callable[[], None], steps: int, quiet: int, until: float
    ) -> None:
        quiet = quiet + 1 if steps == self._steps else 0
        if quiet >= _QUIET_TURNS or self._clock() >= until:
            call()
            return
        os.sched_yield()  # on the only core, gRPC's threads could not pass on anything
        loop.call_soon(self._look, loop, call, self._steps, quiet, until)
