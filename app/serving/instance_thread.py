"""The thread of one instance."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue
from threading import Thread
from typing import TypeVar

T = TypeVar("T")


class InstanceThread:
    """Runs one call after the other. It is started by the first one: who runs all on the event loop has none.

    It is a daemon: a call that never returns does not keep the process from ending.
    """

    def __init__(self) -> None:
        self._calls: SimpleQueue[Callable[[], object] | None] = SimpleQueue()
        self._thread: Thread | None = None

    def run(
        self, call: Callable[[], T], then: Callable[[T | Exception], None], loop: asyncio.AbstractEventLoop
    ) -> None:
        """Run ``call`` after those submitted before it, ``then`` on the event loop with what it gave or raised."""

        def run_and_tell() -> None:
            result: T | Exception
            try:
                result = call()
            except Exception as error:  # noqa: BLE001 - whoever waits for it is told on the event loop
                result = error
            with suppress(RuntimeError):  # the loop is closed: the call returned after everybody had left
                loop.call_soon_threadsafe(then, result)

        self.submit(run_and_tell)

    def submit(self, call: Callable[[], object]) -> None:
        """Run ``call``, which must not raise, after those submitted before it."""
        if self._thread is None:
            self._thread = Thread(target=self._work, name="backend", daemon=True)
            self._thread.start()
        self._calls.put(call)

    def stop(self, *, wait: bool = True) -> None:
        """End the thread once all calls have returned, and wait for that or not."""
        if self._thread is not None:
            self._calls.put(None)
            if wait:
                self._thread.join()

    def _work(self) -> None:
        while (call := self._calls.get()) is not None:
            call()
