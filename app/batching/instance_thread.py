"""The worker thread of one instance."""

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue
from typing import TypeVar

T = TypeVar("T")

_NAME = "backend"


class InstanceThread:
    """Runs calls one after the other. The first call starts it, so an instance that only uses the event loop has none.

    It is a daemon thread: a call that never returns does not block process exit, if the exit checks ``any_runs`` first.
    """

    def __init__(self) -> None:
        self._calls: SimpleQueue[Callable[[], object] | None] = SimpleQueue()
        self._thread: threading.Thread | None = None

    def run(
        self, call: Callable[[], T], then: Callable[[T | Exception], None], loop: asyncio.AbstractEventLoop
    ) -> None:
        """Run ``call`` after earlier calls, then run ``then`` on the event loop with its result or exception."""

        def run_and_tell() -> None:
            result: T | Exception
            try:
                result = call()
            except Exception as error:  # noqa: BLE001 - passed to the caller on the event loop
                result = error
            with suppress(RuntimeError):  # the loop is closed: the call returned after shutdown
                loop.call_soon_threadsafe(then, result)
            del result  # an exception references this frame

        self.submit(run_and_tell)

    def submit(self, call: Callable[[], object]) -> None:
        """Run ``call``, which must not raise, after earlier calls."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name=_NAME, daemon=True)
            self._thread.start()
        self._calls.put(call)

    def end(self, last: Callable[[], object]) -> None:
        """Run ``last`` after all calls have returned, then end; without a thread, run it here now."""
        if self._thread is None:
            last()
        else:
            self._calls.put(last)
            self._calls.put(None)

    def has_ended(self, *, within_s: float) -> bool:
        """Whether its last call ends within that time."""
        if self._thread is None:
            return True
        self._thread.join(within_s)
        return not self._thread.is_alive()

    def _work(self) -> None:
        while (call := self._calls.get()) is not None:
            call()
            del call  # it references its result, which would live until the next call


def any_runs() -> bool:
    """Whether a call in this process has not returned.

    A normal exit would tear down Python and the runtimes while the call uses them, which aborts the process.
    """
    return any(thread.name == _NAME for thread in threading.enumerate())
