"""Threads that decode what is too large for the event loop: large JSON, forms, compressed bodies, images and texts.

Few threads work, so that decoding takes its share of the processor and no more; what the images in them may hold
together is bounded; and a job ends when its deadline passes or its client leaves: at once while it waits, between two
instances while it runs.
"""

import asyncio
import logging
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

# While the oldest job waits for longer than this, no other one may join it.
MOST_WAIT_S = 1.0
# A thread that waits for room looks so often whether anybody still waits for it.
_LOOK_S = 0.05


@dataclass(slots=True)
class Ticket:
    """What a request may cost in time.

    Attributes:
        deadline: monotonic seconds.
        timeout_s: the same as the client stated it, for the message.
        clock: monotonic seconds.
        left: nobody waits for the result any more.
    """

    deadline: float
    timeout_s: float
    clock: Clock
    left: bool = False

    def check(self) -> None:
        """Between two instances: is it worth to go on?

        Raises:
            DeadlineExceeded: no, the deadline has passed, or nobody waits any more.
        """
        if self.left or self.clock() >= self.deadline:
            raise self.expired()

    def expired(self) -> DeadlineExceeded:
        """The answer to a request whose deadline has passed."""
        return DeadlineExceeded(f"the timeout of {self.timeout_s * 1e3:g} ms passed while the request was decoded")


@dataclass(slots=True, eq=False)
class _Job:
    """A call that waits for a thread, and who waits for it."""

    call: Callable[[], Any]
    ticket: Ticket
    future: asyncio.Future[Any]
    loop: asyncio.AbstractEventLoop
    since: float
    alone: bool
    result: Any = field(default=None, init=False)

    def settle(self, result: object) -> None:
        """Hand over the result. On the event loop."""
        if self.future.done():
            return
        if isinstance(result, BaseException):
            self.future.set_exception(result)
        else:
            self.future.set_result(result)


class DecodePool:
    """Runs decoding calls in threads.

    Args:
        threads: so many calls run at once; they are started by the first one.
        memory_bytes: what the images that are being decoded may hold together.
        clock: monotonic seconds.
    """

    def __init__(self, *, threads: int, memory_bytes: int, clock: Clock) -> None:
        self._most_threads = threads
        self._memory_bytes = memory_bytes
        self._clock = clock
        self._held_bytes = 0
        self._jobs: deque[_Job] = deque()
        self._runs_alone = False
        self._unfinished: set[_Job] = set()
        self._changed = threading.Condition()
        self._threads: list[threading.Thread] = []
        self._closed = False

    async def run(self, call: Callable[[], T], ticket: Ticket, *, alone: bool = False) -> T:
        """Run ``call`` in a thread; it should ask ``ticket`` whether to go on wherever it can stop.

        Args:
            call: decodes.
            ticket: what it may cost in time.
            alone: it keeps the interpreter's lock for long. At most one such call runs: two would hand the lock to one
                another, and the event loop would wait for both.

        Raises:
            QueueFull: the oldest job of its kind waits for too long already.
            DeadlineExceeded: the deadline passed first.
            Draining: the process ends.
            Exception: whatever ``call`` raises.
        """
        loop = asyncio.get_running_loop()
        now = self._clock()
        if ticket.deadline <= now:
            raise ticket.expired()
        waiting = [job.since for job in tuple(self._jobs) if job.alone == alone]
        if waiting and (waited_s := now - waiting[0]) > MOST_WAIT_S:
            raise QueueFull(
                f"{len(waiting)} bodies wait to be decoded, the oldest for {waited_s * 1e3:.0f} ms; try again"
            )
        job = _Job(call, ticket, loop.create_future(), loop, since=now, alone=alone)
        timer = loop.call_later(ticket.deadline - now, job.settle, ticket.expired())
        self._unfinished.add(job)
        try:
            self._submit(job)
            result: T = await job.future
            return result
        finally:
            ticket.left = True  # whatever ended the wait: of what still runs nobody needs the rest
            timer.cancel()
            self._unfinished.discard(job)
            # An exception holds this frame; with the future that holds the exception it would be a cycle, and the body
            # and all that was made of it would wait for a collection.
            del job, timer

    @contextmanager
    def room(self, ticket: Ticket, nbytes: int) -> Iterator[None]:
        """Hold so many bytes; waits, in a thread, until there is room for them.

        Raises:
            TooLarge: there never is.
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
        """Answer everything that waits or runs with Draining. On the event loop."""
        for job in list(self._unfinished):
            job.ticket.left = True
            job.settle(Draining("the service shut down before this request was answered"))

    def close(self) -> None:
        """End the threads; one that is in the middle of an instance ends after it, and nobody waits for that."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    @property
    def runs(self) -> bool:
        """Whether a thread has not ended."""
        return any(thread.is_alive() for thread in self._threads)

    def _submit(self, job: _Job) -> None:
        with self._changed:
            self._jobs.append(job)
            if len(self._threads) < self._most_threads:
                self._threads.append(threading.Thread(target=self._work, name="decode", daemon=True))
                self._threads[-1].start()
            self._changed.notify()

    def _work(self) -> None:
        while (job := self._next()) is not None:
            result: object
            try:
                job.ticket.check()
                result = job.call()
            except ServingError as error:
                result = error
            except Exception as error:  # noqa: BLE001 - whoever waits for it is told on the event loop
                result = error
            if job.alone:
                self._no_longer_alone()
            with suppress(RuntimeError):  # the loop is closed: the process ends
                job.loop.call_soon_threadsafe(partial(job.settle, result))
            del job, result

    def _next(self) -> _Job | None:
        """The oldest job that may run and that somebody still waits for; None at the end."""
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
                self._runs_alone |= job.alone
                return job
        return None

    def _no_longer_alone(self) -> None:
        with self._changed:
            self._runs_alone = False
            self._changed.notify()
