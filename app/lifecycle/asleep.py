"""Models that are not loaded, and load with their next request."""

import asyncio
from collections.abc import Awaitable, Callable

from app.one_by_one import OneByOne

MOST_WAKES = 20


class Asleep:
    """Models that sleep: the lifecycle puts them to sleep, requests wake them.

    Attributes:
        names: model -> its default version when it was unloaded; None if it was not loaded before.
        wakes_for_metadata: whether questions about inputs wake a model; not if inference requires a key, which such
            questions do not.
    """

    def __init__(self) -> None:
        self.names: dict[str, int | None] = {}
        self.wakes_for_metadata = True
        self._load: Callable[[str], Awaitable[bool]] | None = None
        self._waking: dict[str, asyncio.Task[bool]] = {}
        self._turns = OneByOne(1)  # of requests whose model is loaded

    def loaded_by(self, load: Callable[[str], Awaitable[bool]]) -> None:
        """Loads a model, and returns whether it serves then."""
        self._load = load

    def remove(self, name: str) -> None:
        """The model is loaded, or stays unloaded."""
        self.names.pop(name, None)

    async def wake(self, name: str) -> None:
        """Load a model if it sleeps, once for all requests that wait for it; ``get`` shows whether it serves then.

        A request that leaves does not end the load. A model that others have unloaded again before the request got it
        is loaded again, a few times.
        """
        for _ in range(MOST_WAKES):
            if name not in self.names or self._load is None:
                return
            waking = self._waking.get(name)
            if waking is None:
                waking = self._waking[name] = asyncio.create_task(self._wake(name, self._load))
            serves = await asyncio.shield(waking)
            await self._turns.next()
            if not serves:
                return

    async def _wake(self, name: str, load: Callable[[str], Awaitable[bool]]) -> bool:
        try:
            return await load(name)
        finally:
            del self._waking[name]
