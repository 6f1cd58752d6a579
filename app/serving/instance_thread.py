"""The thread of one instance."""

from collections.abc import Callable
from queue import SimpleQueue
from threading import Thread


class InstanceThread:
    """Runs one call after the other. It is started by the first one: who runs all on the event loop has none.

    It is a daemon: a call that never returns does not keep the process from ending.
    """

    def __init__(self) -> None:
        self._calls: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._thread: Thread | None = None

    def submit(self, call: Callable[[], None]) -> None:
        """Run ``call``, which must not raise, after those submitted before it."""
        if self._thread is None:
            self._thread = Thread(target=self._run, name="backend", daemon=True)
            self._thread.start()
        self._calls.put(call)

    def stop(self) -> None:
        """End the thread once all calls have returned, and wait for that."""
        if self._thread is not None:
            self._calls.put(None)
            self._thread.join()

    def _run(self) -> None:
        while (call := self._calls.get()) is not None:
            call()
