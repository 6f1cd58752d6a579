"""Returns unused memory while the service runs: after a version was freed, and at intervals.

Two things keep unused memory. Objects in reference cycles wait for a garbage collection, and the interpreter's own
thresholds are set high (``lifespan``) so that none runs during requests. And malloc keeps the pages of freed memory.
"""

import asyncio
import gc
import logging
from collections.abc import Callable
from contextlib import suppress

log = logging.getLogger("atelier.housekeeping")

EVERY_S = 5.0
"""Interval of the checks."""
NOT_BEFORE_S = 0.5
"""Delay after a version was freed; versions freed within it are cleaned up together."""
CYCLES_FROM = 2_000
"""New objects from which on cycles are collected. Some remain even if requests leave no cycles: about ten for each
array of golden samples (numpy parses their headers with ``ast``), and five for each gRPC call (grpcio's own)."""
MOST_FUTILE = 3
"""A collection that frees little is repeated after 2, then 4, then 8 checks. Under overload thousands of requests wait,
whose objects are new but not garbage: to visit them all takes 80 ms, and frees nothing."""
TRIM_FROM_BYTES = 32 * 2**20
"""Growth of resident memory since the last trim from which on free pages are returned."""

LOOKS_AFTER_A_PEAK = 4
"""While memory is this much above its minimum, pages are returned every few checks: the memory of a peak is freed
gradually."""


class Housekeeping:
    """Collects cycles on the event loop, and returns pages in a thread.

    Collection runs on the event loop because destroyed objects may belong to it: transports, futures.

    Args:
        trim: returns free pages, blocks; None: not possible here.
        resident_bytes: memory of the process.
        every_s: interval of the checks.
        not_before_s: delay between freeing a version and the clean-up.
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
        # The minimum since the last trim, from which growth is counted.
        self._floor_bytes = 0
        # The minimum since the start, and checks since the last trim: memory of a peak is returned later.
        self._least_bytes = 0
        self._looks = 0
        # Collections in a row that freed little, and checks until the next one.
        self._futile = self._pause = 0

    def freed(self) -> None:
        """Schedule a clean-up after a version was freed. Call it on the event loop."""
        self._freed.set()

    async def run(self) -> None:
        """Check memory until cancelled."""
        await self.clear_away()
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._every_s):  # ``wait_for`` of 3.11 may swallow a cancellation
                    await self._freed.wait()
            if self._freed.is_set():
                await asyncio.sleep(self._not_before_s)
                self._freed.clear()
                await self.clear_away()
            else:
                await self._look()

    async def clear_away(self, *, is_collected: bool = False) -> None:
        """Collect all cycles, unless that was done just now, and return all free pages."""
        if not is_collected:
            gc.collect()
        if self._trim is not None:
            await asyncio.to_thread(self._trim)
        self._floor_bytes = self._resident_bytes()
        self._least_bytes = min(self._least_bytes or self._floor_bytes, self._floor_bytes)
        self._looks = 0

    async def _look(self) -> None:
        """Clean up if it is worth it."""
        has_collected = self._collect()
        resident = self._resident_bytes()
        self._looks += 1
        has_peaked = self._looks >= LOOKS_AFTER_A_PEAK and resident - self._least_bytes >= TRIM_FROM_BYTES
        if has_peaked or resident - self._floor_bytes >= TRIM_FROM_BYTES:
            await self.clear_away(is_collected=has_collected)
        else:
            self._floor_bytes = min(self._floor_bytes, resident)

    def _collect(self) -> bool:
        """Collect cycles if there are many new objects, unless the last collections freed little."""
        if self._pause:
            self._pause -= 1
            return False
        if gc.get_count()[0] < CYCLES_FROM:
            return False
        is_futile = gc.collect() < CYCLES_FROM / 2
        self._futile = min(self._futile + 1, MOST_FUTILE) if is_futile else 0
        self._pause = 2**self._futile - 1
        return True
