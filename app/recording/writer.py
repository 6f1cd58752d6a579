"""Writes answered requests in a thread of its own, from a queue with bounds: no reply waits for the disk."""

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from itertools import groupby
from queue import Empty, SimpleQueue
from typing import Protocol

from app.loaded import LoadedModel

log = logging.getLogger("atelier.recording")

MOST_WAITING = 4_096
"""Most requests that wait to be written, of all models of a process."""
MOST_WAITING_BYTES = 64 * 2**20
"""Most bytes that these take."""
_MOST_AT_ONCE = 64


class Recordable(Protocol):
    """One answered request: ``Answered``, or ``Generated``."""

    @property
    def model(self) -> LoadedModel: ...  # noqa: D102
    @property
    def request_id(self) -> str: ...  # noqa: D102
    @property
    def rows(self) -> int:
        """Instances."""
        ...

    @property
    def nbytes(self) -> int:
        """Bytes of memory that it takes while it waits."""
        ...

    def lines(self) -> Iterator[bytes]:
        """One line for each instance."""
        ...


class Target(Protocol):
    """What writes the requests of one model; ``Recording`` implements it."""

    def write(self, answered: Sequence[Recordable]) -> Callable[[], None]:
        """Write some requests. Blocks. Returns a function that counts them on the event loop."""
        ...


class Writer:
    """The thread, which starts with the first request.

    Args:
        most_waiting, most_waiting_bytes: bounds of the queue.
    """

    def __init__(self, *, most_waiting: int = MOST_WAITING, most_waiting_bytes: int = MOST_WAITING_BYTES) -> None:
        self._most_waiting = most_waiting
        self._most_waiting_bytes = most_waiting_bytes
        self._queue: SimpleQueue[tuple[Target, Recordable, int] | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        # What was ever put into the queue is counted on the event loop, what was written in the thread.
        self._put = self._put_bytes = 0
        self._done = self._done_bytes = 0

    def offer(self, target: Target, answered: Recordable) -> bool:
        """Queue a request to be written. On the event loop; never blocks.

        Returns:
            False if the queue is full; the request is dropped then.
        """
        nbytes = answered.nbytes
        if (
            self._put - self._done >= self._most_waiting
            or self._put_bytes - self._done_bytes + nbytes > self._most_waiting_bytes
        ):
            return False
        if self._thread is None:
            loop = asyncio.get_running_loop()
            self._thread = threading.Thread(target=self._run, args=(loop,), name="recording", daemon=True)
            self._thread.start()
        self._put += 1
        self._put_bytes += nbytes
        self._queue.put((target, answered, nbytes))
        return True

    def close(self, timeout_s: float) -> None:
        """Write what waits, for at most ``timeout_s``. Blocks; nothing may be offered afterwards."""
        if self._thread is None:
            return
        self._queue.put(None)
        self._thread.join(timeout_s)
        if self._thread.is_alive():
            log.warning("%d recorded requests are not written: the disk does not answer", self._put - self._done)

    def _run(self, loop: asyncio.AbstractEventLoop) -> None:
        while self._write_some(loop):
            pass

    def _write_some(self, loop: asyncio.AbstractEventLoop) -> bool:
        """Write what waits, and block until there is something; False at the end.

        A function of its own, so that the thread keeps no request, and no version that answered one, while it waits.
        """
        taken = self._take()
        for target, group in groupby((job for job in taken if job is not None), key=lambda job: job[0]):
            some = list(group)
            try:
                count = target.write([answered for _, answered, _ in some])
            except Exception:
                log.exception("requests cannot be recorded")
                count = _nothing
            self._done_bytes += sum(nbytes for _, _, nbytes in some)
            self._done += len(some)
            with suppress(RuntimeError):  # the event loop has ended
                loop.call_soon_threadsafe(count)
            time.sleep(0)  # lets the event loop continue
        return None not in taken

    def _take(self) -> list[tuple[Target, Recordable, int] | None]:
        """What waits, at least one; blocks until there is one."""
        taken = [self._queue.get()]
        with suppress(Empty):
            while len(taken) < _MOST_AT_ONCE and taken[-1] is not None:
                taken.append(self._queue.get_nowait())
        return taken


def _nothing() -> None:
    """Count nothing."""
