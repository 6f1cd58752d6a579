"""Models that are not loaded, and load with their next request."""

import asyncio
from collections.abc import Awaitable, Callable


class Asleep:
    """Names of models that sleep: the lifecycle puts them to sleep, requests wake them."""

    def __init__(self) -> None:
        self.names: set[str] = set()
        self._load: Callable[[str], Awaitable[None]] | None = None
        self._waking: dict[str, asyncio.Task[None]] = {}

    def loaded_by(self, load: Callable[[str], Awaitable[None]]) -> None:
        """Loads a model; afterwards it does not sleep any more, unless there was no room for it."""
        self._load = load

    async def wake(self, name: str) -> None:
        """Load a model if it sleeps, once for all requests that wait for it; ``get`` shows whether it serves then.

        A request that leaves does not end the load.
        """
        if name not in self.names or self._load is None:
            return
        waking = self._waking.get(name)
        if waking is None:
            waking = self._waking[name] = asyncio.create_task(self._wake(name, self._load))
        await asyncio.shield(waking)

    async def _wake(self, name: str, load: Callable[[str], Awaitable[None]]) -> None:
        try:
            await load(name)
        finally:
            del self._waking[name]
