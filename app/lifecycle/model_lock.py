"""The lock of a model: one command, load or unload of it at a time."""

import asyncio
from typing import Literal


class ModelLock(asyncio.Lock):
    """Also knows whether anybody holds it or waits for it; ``locked`` is False while a waiter has not woken up yet."""

    def __init__(self) -> None:
        super().__init__()
        self._users = 0

    @property
    def is_used(self) -> bool:
        """Whether anybody holds it or waits for it; if not, it can be taken without waiting."""
        return self._users > 0

    async def acquire(self) -> Literal[True]:
        """Wait for the lock."""
        self._users += 1
        try:
            return await super().acquire()
        except BaseException:
            self._users -= 1
            raise

    def release(self) -> None:
        """Give it back."""
        super().release()
        self._users -= 1
