"""Where versions load: in threads of their own, one after the other; one that does not end holds up no other."""

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress

from app.errors import Draining, VersionRefused
from app.loaded import LoadedModel

# The next load begins when the one before has ended, or has taken this long. One at a time: each has the processor and
# the memory to itself, and the latency that it measures is that of its model. Few loads take longer.
TURN_S = 5.0


class LoadThreads:
    """Runs loads.

    A thread cannot be ended. One whose load takes too long is left behind: what it loads in the end is thrown away.

    Args:
        timeout_s: a load that takes longer is refused.
        turn_s: a load that takes longer no longer keeps the next from beginning.
    """

    def __init__(self, *, timeout_s: float, turn_s: float = TURN_S) -> None:
        self._timeout_s = timeout_s
        self._turn_s = turn_s
        self._turn = asyncio.Semaphore(1)
        self._waited_for: set[asyncio.Future[LoadedModel]] = set()
        self._threads: set[threading.Thread] = set()
        self._has_ended = False

    @property
    def any_runs(self) -> bool:
        """Whether a load is under way, be it one that was left behind."""
        return any(thread.is_alive() for thread in self._threads)

    def end(self) -> None:
        """Wait for no load any more, and begin none: the service is shutting down. On the event loop."""
        self._has_ended = True
        for future in self._waited_for:
            if not future.done():
                future.set_exception(_draining())

    async def run(self, load: Callable[[], LoadedModel]) -> LoadedModel:
        """What ``load`` gives, or raises.

        Raises:
            VersionRefused: it takes too long.
            Draining: the service is shutting down.
        """
        loop = asyncio.get_running_loop()
        await self._turn.acquire()
        turn = _Turn(self._turn, self._turn_s)
        try:
            if self._has_ended:
                raise _draining()
            future: asyncio.Future[LoadedModel] = loop.create_future()
            self._waited_for.add(future)
            thread = threading.Thread(target=self._load, args=(load, loop, future), name="atelier-load", daemon=True)
            self._threads.add(thread)
            thread.start()
            try:
                await asyncio.wait([future], timeout=self._timeout_s)
                if not future.done():
                    raise VersionRefused(
                        f"did not finish loading within {self._timeout_s:g} s (ATELIER_LOAD_TIMEOUT_S); its thread is "
                        "left behind until the service is restarted"
                    )
                return future.result()
            finally:
                self._waited_for.discard(future)
                if not future.cancel():
                    future.exception()  # nobody may wait for it any more
                del future  # which holds the exception, which holds this frame
        finally:
            turn.end()

    def _load(
        self, load: Callable[[], LoadedModel], loop: asyncio.AbstractEventLoop, future: asyncio.Future[LoadedModel]
    ) -> None:
        model, failure = None, None
        try:
            model = load()
        except BaseException as error:  # noqa: BLE001 - whoever waits gets it
            failure = error
        with suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(self._deliver, threading.current_thread(), future, model, failure)
        del future, failure  # each holds the exception, which holds this frame

    def _deliver(
        self,
        thread: threading.Thread,
        future: asyncio.Future[LoadedModel],
        model: LoadedModel | None,
        failure: BaseException | None,
    ) -> None:
        self._threads.discard(thread)
        if not future.done():
            if model is not None:
                future.set_result(model)
            else:
                assert failure is not None
                future.set_exception(failure)
        elif model is not None:  # too late
            model.admission.draining = True
            model.batcher.stop()
            threading.Thread(target=model.batcher.close, daemon=True).start()


class _Turn:
    """The right to keep the next load from beginning, given back once."""

    def __init__(self, turn: asyncio.Semaphore, most_s: float) -> None:
        self._turn: asyncio.Semaphore | None = turn
        self._timer = asyncio.get_running_loop().call_later(most_s, self.end)

    def end(self) -> None:
        """Let the next load begin."""
        self._timer.cancel()
        if self._turn is not None:
            self._turn.release()
            self._turn = None


def _draining() -> Draining:
    return Draining("the service is shutting down")
