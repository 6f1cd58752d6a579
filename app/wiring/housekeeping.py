"""Gives memory back while the service runs: after a version was freed, and now and then.

Two things keep memory that nobody uses. Objects in cycles wait for a collection, and the interpreter's own thresholds
are set so high (``lifespan``) that none falls into the midst of requests. And malloc keeps the pages of what was freed.
"""

import asyncio
import gc
import logging
from collections.abc import Callable
from contextlib import suppress

log = logging.getLogger("atelier.housekeeping")

EVERY_S = 5.0
"""Between two looks at what has piled up."""
NOT_BEFORE_S = 0.5
"""Versions that are freed one after the other are cleared away together."""
CYCLES_FROM = 2_000
"""New objects from which on cycles are looked for. What is left of them once all requests leave none: ten objects or so
for each array of golden samples (numpy reads their headers by ``ast``), and five for each gRPC call (grpcio's own)."""
TRIM_FROM_BYTES = 32 * 2**20
"""Growth of resident memory since the last time from which on free pages are given back."""

LOOKS_AFTER_A_PEAK = 4
"""While memory is that much above the least ever, pages are given back at every so many looks: what was used at a peak
is freed by and by."""


class Housekeeping:
    """Collects cycles on the event loop, and gives back pages in a thread.

    On the event loop because what is destroyed there may belong to it: transports, futures.

    Args:
        trim: gives free pages back, blocks; None: cannot be done here.
        resident_bytes: memory of the process.
        every_s: between two looks.
        not_before_s: between a version that was freed and the time at which that is cleared away.
    """

    def __init__(
        self,
        *,
        trim: Callable[[], None] | None,
        resident_bytes: Callable[[], int],
        every_s: float = EVERY_S,
        not_before_s: float = NOT_BEFORE_S,
    ) -> None:
        self._trim = trim
        self._resident_bytes = resident_bytes
        self._every_s = every_s
        self._not_before_s = not_before_s
        self._freed = asyncio.Event()
        # The least since the last time: growth is counted from there.
        self._floor_bytes = 0
        # The least ever, and looks since the last time: what a peak has left is given back later.
        self._least_bytes = 0
        self._looks = 0

    def freed(self) -> None:
        """A version was freed. On the event loop."""
        self._freed.set()

    async def run(self) -> None:
        """Look after memory until cancelled."""
        await self.clear_away()
        while True:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._freed.wait(), self._every_s)
            if self._freed.is_set():
                await asyncio.sleep(self._not_before_s)
                self._freed.clear()
                await self.clear_away()
            else:
                await self._look()

    async def clear_away(self) -> None:
        """Collect all cycles and give back all free pages."""
        gc.collect()
        if self._trim is not None:
            await asyncio.to_thread(self._trim)
        self._floor_bytes = self._resident_bytes()
        self._least_bytes = min(self._least_bytes or self._floor_bytes, self._floor_bytes)
        self._looks = 0

    async def _look(self) -> None:
        """Clear away if it is worth it."""
        if gc.get_count()[0] >= CYCLES_FROM:
            gc.collect()
        resident = self._resident_bytes()
        self._looks += 1
        has_peaked = self._looks >= LOOKS_AFTER_A_PEAK and resident - self._least_bytes >= TRIM_FROM_BYTES
        if has_peaked or resident - self._floor_bytes >= TRIM_FROM_BYTES:
            await self.clear_away()
        else:
            self._floor_bytes = min(self._floor_bytes, resident)
