"""A state that somebody may wait for, without a cost as long as nobody does."""

import asyncio


class AwaitedState:
    """Wakes those who wait for a state when it is reached. An ``asyncio.Event`` would cost each request."""

    __slots__ = ("_reached",)

    def __init__(self) -> None:
        self._reached: asyncio.Event | None = None

    async def wait(self) -> None:
        """Return when the state is reached the next time."""
        if self._reached is None:
            self._reached = asyncio.Event()
        await self._reached.wait()

    def reach(self) -> None:
        """Wake all who wait."""
        if self._reached is not None:
            self._reached.set()
            self._reached = None
