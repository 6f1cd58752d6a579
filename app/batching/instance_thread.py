"""The thread of one instance."""

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue
from typing import TypeVar

T = TypeVar("T")

_NAME = "backend"


class InstanceThread:
    """Runs one call after the other. It is started by the first one: who runs all on the event loop has none.

    It is a daemon: a call that never returns does not keep the process from ending, if that asks ``any_runs`` first.
    """

    def __init__(self) -> None:
        self._calls: SimpleQueue[Callable[[], object] | None] = SimpleQueue()
        self._thread: threading.Thread | None = None

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
            del result  # an error holds this frame

        self.submit(run_and_tell)

    def submit(self, call: Callable[[], object]) -> None:
        """Run ``call``, which must not raise, after those submitted before it."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name=_NAME, daemon=True)
            self._thread.start()
        self._calls.put(call)

    def end(self, last: Callable[[], object]) -> None:
        """Run ``last`` once all calls have returned, and no more; at once and here if there was none."""
        if self._thread is None:
            last()
        else:
            self._calls.put(last)
            self._calls.put(None)

    def has_ended(self, *, within_s: float) -> bool:
        """Whether it has run its last call by then."""
        if self._thread is None:
            return True
        self._thread.join(within_s)
        return not self._thread.is_alive()

    def _work(self) -> None:
        while (call := self._calls.get()) is not None:
            call()
            del call  # it holds what it gave, which would live until the next one


def any_runs() -> bool:
    """Whether a call in this process has not returned.

    Python and the runtimes would be taken apart around it if the process ended in the usual way, and that aborts.
    """
    return any(thread.name == _NAME for thread in threading.enumerate())
