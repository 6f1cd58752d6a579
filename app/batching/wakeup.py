"""The next step of a batcher, planned on its event loop."""

import asyncio
from collections.abc import Callable


class Wakeup:
    """At most one planned call; a new plan replaces the one before. The plan is over when the call begins."""

    def __init__(self) -> None:
        self._handle: asyncio.Handle | None = None

    @property
    def is_set(self) -> bool:
        """Whether a call is planned."""
        return self._handle is not None

    def soon(self, step: Callable[[], None], loop: asyncio.AbstractEventLoop) -> None:
        """Call ``step`` in the next turn of the loop."""
        self.cancel()
        self._handle = loop.call_soon(self._run, step)

    def after(self, seconds: float, step: Callable[[], None], loop: asyncio.AbstractEventLoop) -> None:
        """Call ``step`` after this time."""
        self.cancel()
        self._handle = loop.call_later(seconds, self._run, step)

    def cancel(self) -> None:
        """Call nothing more."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _run(self, step: Callable[[], None]) -> None:
        self._handle = None
        step()
