"""Loads versions in separate threads, a few at a time; one that does not end delays no other."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial

from app.batching.instance_thread import InstanceThread
from app.errors import Draining, VersionRefused
from app.loaded import LoadedModel

# The next load starts when an earlier one has ended, or has taken this long. One at a time has the processor and
# the memory to itself, and the latency that it measures is that of its model. Few loads take longer.
TURN_S = 5.0


class LoadTurns:
    """Lets a number of loads start; the next one when one of them has ended, or has taken too long.

    Args:
        parallel: how many.
        most_s: how long.
    """

    def __init__(self, parallel: int, most_s: float = TURN_S) -> None:
        self._free = asyncio.Semaphore(parallel)
        self._most_s = most_s

    @asynccontextmanager
    async def taken(self) -> AsyncIterator[None]:
        """Waits for a turn, and frees it at the end or after the time."""
        await self._free.acquire()
        is_taken = True

        def give_back() -> None:
            nonlocal is_taken
            if is_taken:
                is_taken = False
                self._free.release()

        timer = asyncio.get_running_loop().call_later(self._most_s, give_back)
        try:
            yield
        finally:
            timer.cancel()
            give_back()


class LoadThreads:
    """Runs loads.

    A thread cannot be ended. One whose load takes too long is left behind: what it loads in the end is thrown away.

    Args:
        timeout_s: a load that takes longer is refused.
        turn_s: a load that takes longer no longer keeps the next from beginning.
        parallel: loads that run at the same time.
    """

    def __init__(self, *, timeout_s: float, turn_s: float = TURN_S, parallel: int = 1) -> None:
        self._timeout_s = timeout_s
        self._turns = LoadTurns(parallel, turn_s)
        # Threads are reused: a new one gets its own arena of malloc, whose free pages other threads cannot use.
        self._idle: list[InstanceThread] = []
        # Awaited by the caller of a load; done if nobody waits any more. The call has no reference to it: an exception
        # refers to the frame of its call, so that this would be a reference cycle.
        self._running: dict[InstanceThread, asyncio.Future[LoadedModel]] = {}
        self._has_ended = False

    @property
    def any_runs(self) -> bool:
        """Whether a load is in progress, including one that was given up."""
        return bool(self._running)

    def end(self) -> None:
        """Wait for no load any more, and start none: the service is shutting down. On the event loop."""
        self._has_ended = True
        for thread in self._idle:
            thread.end(_nothing)
        self._idle.clear()
        for future in self._running.values():
            if not future.done():
                future.set_exception(_draining())

    async def run(self, load: Callable[[], LoadedModel]) -> LoadedModel:
        """Run ``load``; returns its result, or raises its error.

        Raises:
            VersionRefused: it takes too long.
            Draining: the service is shutting down.
        """
        loop = asyncio.get_running_loop()
        async with self._turns.taken():
            if self._has_ended:
                raise _draining()
            future: asyncio.Future[LoadedModel] = loop.create_future()
            thread = self._idle.pop() if self._idle else InstanceThread()
            self._running[thread] = future
            thread.run(load, partial(self._deliver, thread), loop)
            try:
                await asyncio.wait([future], timeout=self._timeout_s)
                if not future.done():
                    raise VersionRefused(
                        f"did not finish loading within {self._timeout_s:g} s (ATELIER_LOAD_TIMEOUT_S); its thread is "
                        "left behind until the service is restarted"
                    )
                return future.result()
            finally:
                if not future.cancel():
                    future.exception()  # its caller may have stopped waiting
                del future  # which refers to the exception, which refers to this frame

    def _deliver(self, thread: InstanceThread, loaded: LoadedModel | Exception) -> None:
        future = self._running.pop(thread)
        if self._has_ended:
            thread.end(_nothing)
        else:
            self._idle.append(thread)
        if not future.done():
            if isinstance(loaded, Exception):
                future.set_exception(loaded)
            else:
                future.set_result(loaded)
        elif not isinstance(loaded, Exception):  # too late
            for each in reversed(loaded.with_signatures):
                each.admission.draining = True
                each.batcher.stop()
                threading.Thread(target=each.batcher.close, daemon=True).start()


def _nothing() -> None:
    """The last call of a thread."""


def _draining() -> Draining:
    return Draining("the service is shutting down")
