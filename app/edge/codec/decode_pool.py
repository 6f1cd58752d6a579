"""Threads that decode what is too large for the event loop: large JSON, forms, compressed bodies, images and texts.

The number of threads is small, which limits the processor time spent on decoding. The memory of the images being
decoded is limited too. A job ends when its deadline passes or its client leaves: immediately while it waits, after one
instance while it runs.
"""

import asyncio
import logging
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

from app.errors import DeadlineExceeded, Draining, QueueFull, ServingError, TooLarge
from app.types import Clock

log = logging.getLogger("atelier.edge")

T = TypeVar("T")

# Pillow and simdjson release the interpreter lock while they work; more threads would only compete with the event loop.
THREADS = 2

# While the oldest job has waited for longer than this, no other job is accepted.
MOST_WAIT_S = 1.0
# While a call holds the interpreter lock for long, the event loop gets it after this time, in place of 5 ms each time
# that it has read or accepted something.
_SWITCH_S = 0.0005
# Interval at which a thread that waits for memory checks whether the client still waits for the result.
_LOOK_S = 0.05


@dataclass(slots=True)
class Ticket:
    """Time limit of a request.

    Attributes:
        deadline: monotonic seconds.
        timeout_s: the timeout as the client stated it, for the message.
        clock: monotonic seconds.
        left: the client no longer waits for the result.
    """

    deadline: float
    timeout_s: float
    clock: Clock
    left: bool = False

    def check(self) -> None:
        """Check between two instances whether the result is still needed.

        Raises:
            DeadlineExceeded: the deadline has passed, or the client no longer waits.
        """
        if self.left or self.clock() >= self.deadline:
            raise self.expired()

    def expired(self) -> DeadlineExceeded:
        """The error for a request whose deadline has passed."""
        return DeadlineExceeded(f"the timeout of {self.timeout_s * 1e3:g} ms passed while the request was decoded")


@dataclass(slots=True, eq=False)
class _Job:
    """A call that waits for a thread, and the future that receives its result."""

    call: Callable[[], Any]
    ticket: Ticket
    future: asyncio.Future[Any]
    loop: asyncio.AbstractEventLoop
    since: float
    alone: bool
    result: Any = field(default=None, init=False)

    def settle(self, result: object) -> None:
        """Set the result of the future. Call it on the event loop."""
        if self.future.done():
            return
        if isinstance(result, BaseException):
            self.future.set_exception(result)
        else:
            self.future.set_result(result)


class DecodePool:
    """Runs decoding calls in threads.

    Args:
        threads: most calls that run at the same time; the first call starts the threads.
        memory_bytes: most bytes used by the images that are being decoded.
        clock: monotonic seconds.
    """

    def __init__(self, *, threads: int, memory_bytes: int, clock: Clock) -> None:
        self._most_threads = threads
        self._memory_bytes = memory_bytes
        self._clock = clock
        self._held_bytes = 0
        self._jobs: deque[_Job] = deque()
        self._runs_alone = False
        self._usual_switch_s = sys.getswitchinterval()
        self._unfinished: set[_Job] = set()
        self._changed = threading.Condition()
        self._threads: list[threading.Thread] = []
        self._closed = False

    async def run(self, call: Callable[[], T], ticket: Ticket, *, alone: bool = False) -> T:
        """Run ``call`` in a thread. ``call`` should check ``ticket`` wherever it can stop.

        Args:
            call: decodes.
            ticket: time limit of the request.
            alone: the call holds the interpreter lock for long. At most one such call runs: two would pass the lock to
                each other, and the event loop would wait for both.

        Raises:
            QueueFull: the oldest job of its kind has waited for too long.
            DeadlineExceeded: the deadline passed first.
            Draining: the process is stopping.
            Exception: any exception of ``call``.
        """
        loop = asyncio.get_running_loop()
        now = self._clock()
        if ticket.deadline <= now:
            raise ticket.expired()
        self._check_room(now, alone=alone)
        job = _Job(call, ticket, loop.create_future(), loop, since=now, alone=alone)
        timer = loop.call_later(ticket.deadline - now, job.settle, ticket.expired())
        self._unfinished.add(job)
        try:
            self._submit(job)
            result: T = await job.future
            return result
        finally:
            ticket.left = True  # the rest of a call that still runs is not needed
            timer.cancel()
            self._unfinished.discard(job)
            # An exception references this frame. If the frame referenced the future that holds the exception, the cycle
            # would keep the body and all decoded data in memory until a garbage collection.
            del job, timer

    def _check_room(self, now: float, *, alone: bool) -> None:
        """Raise QueueFull if the oldest job of that kind has waited for too long."""
        jobs = tuple(self._jobs)
        waited_s = now - next((job.since for job in jobs if job.alone == alone), now)
        if waited_s > MOST_WAIT_S:
            count = sum(job.alone == alone for job in jobs)
            raise QueueFull(f"{count} bodies wait to be decoded, the oldest for {waited_s * 1e3:.0f} ms; try again")

    @contextmanager
    def room(self, ticket: Ticket, nbytes: int) -> Iterator[None]:
        """Reserve ``nbytes``. Called in a thread; waits until enough memory is free.

        Raises:
            TooLarge: ``nbytes`` exceeds the limit for all images.
            DeadlineExceeded: the deadline passed, or the client left.
        """
        if nbytes > self._memory_bytes:
            raise TooLarge(
                f"decoding the image takes {nbytes} bytes; at most {self._memory_bytes} are allowed for all images"
            )
        with self._changed:
            while self._held_bytes + nbytes > self._memory_bytes:
                ticket.check()
                self._changed.wait(_LOOK_S)
            self._held_bytes += nbytes
        try:
            yield
        finally:
            with self._changed:
                self._held_bytes -= nbytes
                self._changed.notify_all()

    def fail_unfinished(self) -> None:
        """Answer all waiting and running jobs with Draining. Call it on the event loop."""
        for job in list(self._unfinished):
            job.ticket.left = True
            job.settle(Draining("the service shut down before this request was answered"))

    def close(self) -> None:
        """End the threads. A thread that decodes an instance ends after it; this call does not wait for that."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    @property
    def runs(self) -> bool:
        """Whether a thread is still running."""
        return any(thread.is_alive() for thread in self._threads)

    def _submit(self, job: _Job) -> None:
        with self._changed:
            self._jobs.append(job)
            if len(self._threads) < self._most_threads:
                self._threads.append(threading.Thread(target=self._work, name="decode", daemon=True))
                self._threads[-1].start()
            if not (job.alone and self._runs_alone):  # a thread that may not take it would only interrupt the others
                self._changed.notify()

    def _work(self) -> None:
        while (job := self._next()) is not None:
            result: object
            try:
                job.ticket.check()
                result = job.call()
            except ServingError as error:
                result = error
            except Exception as error:  # noqa: BLE001 - passed to the caller on the event loop
                result = error
            if job.alone:
                self._no_longer_alone()
            with suppress(RuntimeError):  # the loop is closed because the process is stopping
                job.loop.call_soon_threadsafe(partial(job.settle, result))
            del job, result

    def _next(self) -> _Job | None:
        """The oldest job that may run and whose client still waits; None when the pool is closed."""
        with self._changed:
            while not self._closed:
                if (job := self._take()) is not None:
                    return job
                self._changed.wait()
        return None

    def _take(self) -> _Job | None:
        for job in tuple(self._jobs):
            if job.future.done():
                self._jobs.remove(job)
            elif not (job.alone and self._runs_alone):
                self._jobs.remove(job)
                if job.alone:
                    self._runs_alone = True
                    sys.setswitchinterval(_SWITCH_S)
                return job
        return None

    def _no_longer_alone(self) -> None:
        with self._changed:
            self._runs_alone = False
            sys.setswitchinterval(self._usual_switch_s)
            self._changed.notify()
