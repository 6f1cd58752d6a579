"""Lets tasks continue one by one: thousands that continue at once would hold the event loop for seconds."""

import asyncio


class OneByOne:
    """Callers of ``next`` continue in their order, with turns of the event loop in between.

    Args:
        turns: after each caller, from 1.
    """

    def __init__(self, turns: int) -> None:
        self._turns = turns
        self._lock = asyncio.Lock()

    async def next(self) -> None:
        """Return when all earlier callers have continued."""
        async with self._lock:
            for _ in range(self._turns):
                await asyncio.sleep(0)
