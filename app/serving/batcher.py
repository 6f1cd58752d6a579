"""Forms and runs the batches of one model version, on the event loop, without polling and without a timer.

While the backend is busy, work queues up; when it is free, everything that waits becomes the next batch. A batch
that is measured to be cheaper than a hop to the worker thread runs on the event loop itself.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from app.contract.tokenizer import PADDING_ID
from app.errors import BackendFailed, DeadlineExceeded, Draining, ServingError
from app.runtime.backend import Array, Backend, Tensors, take_rows
from app.runtime.warmup import Clock, LatencyCurve
from app.serving.admission import Admission
from app.serving.queue import seconds_to_wait, take_batch
from app.serving.work import Answer, Batch, BatchObserver, Work

Outcome = Answer | ServingError


@dataclass(frozen=True, kw_only=True)
class BatchRules:
    """How batches close.

    Attributes:
        max_batch_size: most instances in one backend call.
        max_queue_delay_s: how long an idle backend may wait for company of the oldest work.
        inline_below_s: batches estimated to be faster run on the event loop.
    """

    max_batch_size: int
    max_queue_delay_s: float
    inline_below_s: float


class Batcher:
    """The queue of one model version and the one backend call in progress.

    Args:
        backend: what runs a batch.
        rules: when a batch closes and where it runs.
        curve: seconds per batch size; every batch refines it.
        admission: counts what waits.
        observer: is told of every batch.
        clock: monotonic seconds.
    """

    def __init__(  # the parts are given once, by the loader
        self,
        *,
        backend: Backend,
        rules: BatchRules,
        curve: LatencyCurve,
        admission: Admission,
        observer: BatchObserver,
        clock: Clock,
    ) -> None:
        self._backend = backend
        self._rules = rules
        self._curve = curve
        self._admission = admission
        self._observer = observer
        self._clock = clock
        self._queue: deque[Work] = deque()
        self._running: Batch | None = None
        self._wakeup: asyncio.Handle | None = None
        self._idle = asyncio.Event()
        self._idle.set()
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="backend")

    @property
    def max_batch_size(self) -> int:
        """Most instances in one work."""
        return self._rules.max_batch_size

    def seconds_per_row(self) -> float:
        """Measured seconds a row costs in a full batch."""
        return self._curve.estimate(self.max_batch_size) / self.max_batch_size

    def submit(self, works: Sequence[Work]) -> None:
        """Queue the works of one request, all or none.

        Raises:
            TooLarge, QueueFull, Draining: see ``Admission.admit``.
        """
        self._admission.admit(
            rows=sum(work.rows for work in works),
            nbytes=sum(work.nbytes for work in works),
            seconds_per_row=self.seconds_per_row(),
        )
        self._queue.extend(works)
        self._idle.clear()
        full = self._admission.rows >= self.max_batch_size
        if self._running is None and (self._wakeup is None or full):
            if self._wakeup is not None:  # waiting out a delay that a full batch need not wait for
                self._wakeup.cancel()
            # After the requests that are already readable on other connections, so that they share the batch.
            self._wakeup = asyncio.get_running_loop().call_soon(self._next)
        self._observer.queue_changed(rows=self._admission.rows, nbytes=self._admission.nbytes)

    async def drained(self) -> None:
        """Return once nothing waits and nothing runs."""
        await self._idle.wait()

    def fail_unfinished(self) -> None:
        """Answer everything that waits or runs with Draining; what a call in progress still gives is discarded."""
        error = Draining("the service shut down before this request was answered")
        for work in self._running.works if self._running else ():
            _settle(work, error)
        while self._queue:
            work = self._queue.popleft()
            self._leave(work)
            _settle(work, error)
        self._rest_if_empty()

    def close(self) -> None:
        """Free the backend. Nothing waits any more; a call in progress is waited for."""
        self.fail_unfinished()
        if self._wakeup is not None:
            self._wakeup.cancel()
        self._executor.shutdown(wait=True)
        self._backend.close()

    def _next(self) -> None:
        """Run what waits, now or as soon as the delay is over. Runs on the event loop while the backend is free."""
        self._wakeup = None
        loop = asyncio.get_running_loop()
        if self._queue and self._rules.max_queue_delay_s:
            wait_s = seconds_to_wait(
                self._queue,
                rows=self._admission.rows,
                max_batch_size=self.max_batch_size,
                max_queue_delay_s=self._rules.max_queue_delay_s,
                now=self._clock(),
            )
            if wait_s > 0:
                self._wakeup = loop.call_later(wait_s, self._next)
                return
        taken = take_batch(self._queue, max_batch_size=self.max_batch_size, now=self._clock())
        for work in taken.cancelled:
            self._drop(work, "cancelled")
        for work in taken.expired:
            self._drop(work, "expired")
            _settle(work, DeadlineExceeded("the deadline passed while the request waited in the queue"))
        batch = taken.batch
        if batch is None:
            self._rest_if_empty()
            return
        if batch.reason == "idle" and self._rules.max_queue_delay_s:
            batch.reason = "delay"
        for work in batch.works:
            self._leave(work)
        self._observer.queue_changed(rows=self._admission.rows, nbytes=self._admission.nbytes)
        self._running = batch
        if self._curve.estimate(batch.rows) < self._rules.inline_below_s:
            self._finish(batch, self._run(batch))
        else:
            future = loop.run_in_executor(self._executor, self._run, batch)
            future.add_done_callback(lambda done: self._finish(batch, done.result()))

    def _run(self, batch: Batch) -> list[Outcome]:
        """One outcome per work. Blocks; never raises."""
        started_at = self._clock()
        outcomes = run_works(self._backend, batch.works)
        finished_at = self._clock()
        for work in batch.works:
            work.started_at, work.finished_at = started_at, finished_at
        return outcomes

    def _finish(self, batch: Batch, outcomes: list[Outcome]) -> None:
        """Hand the rows back and go on with what came in meanwhile. Runs on the event loop."""
        self._running = None
        for work, outcome in zip(batch.works, outcomes, strict=True):
            _settle(work, outcome)
        compute_s = batch.works[0].finished_at - batch.works[0].started_at
        self._curve.observe(batch.rows, compute_s)
        self._observer.batch_closed(
            rows=batch.rows,
            reason=batch.reason,
            compute_s=compute_s,
            padding=padding_ratio(batch.works),
        )
        if self._queue:
            self._wakeup = asyncio.get_running_loop().call_soon(self._next)
        else:
            self._rest_if_empty()

    def _leave(self, work: Work) -> None:
        self._admission.release(rows=work.rows, nbytes=work.nbytes)

    def _drop(self, work: Work, reason: str) -> None:
        self._leave(work)
        self._observer.work_dropped(rows=work.rows, reason=reason)

    def _rest_if_empty(self) -> None:
        if not self._queue and self._running is None:
            self._idle.set()
            self._observer.queue_changed(rows=0, nbytes=0)


def run_works(backend: Backend, works: Sequence[Work]) -> list[Outcome]:
    """Run works as one batch; bisect it if it fails, so that one bad row cannot fail its neighbours.

    Returns:
        For each work its outputs, or the error that running it alone gave.
    """
    try:
        outputs = backend.run(_stack([work.inputs for work in works]))
    except Exception as error:  # noqa: BLE001 - the boundary of a batch: whatever went wrong becomes its answer
        if len(works) > 1:
            middle = len(works) // 2
            return run_works(backend, works[:middle]) + run_works(backend, works[middle:])
        return [error if isinstance(error, ServingError) else BackendFailed(f"the backend failed: {error}")]
    answers: list[Outcome] = []
    start = 0
    for work in works:
        answers.append(take_rows(outputs, start, start + work.rows))
        start += work.rows
    return answers


def padding_ratio(works: Sequence[Work]) -> float:
    """Share of a batch's elements that pad shorter rows to the longest, 0 to 1."""
    if len(works) == 1:
        return 0.0
    given = whole = 0
    for name in works[0].inputs:
        arrays = [work.inputs[name] for work in works]
        width = max(array[0].size for array in arrays)
        given += sum(array.size for array in arrays)
        whole += width * sum(len(array) for array in arrays)
    return 1 - given / whole if whole else 0.0


def _stack(parts: Sequence[Tensors]) -> Tensors:
    """All rows in one batch; rows of variable length are padded after their end with id 0."""
    if len(parts) == 1:
        return parts[0]
    return {name: _concatenate([part[name] for part in parts]) for name in parts[0]}


def _concatenate(arrays: list[Array]) -> Array:
    shapes = {array.shape[1:] for array in arrays}
    if len(shapes) == 1:
        return np.concatenate(arrays)
    width = max(array.shape[1] for array in arrays)
    batch = np.full((sum(map(len, arrays)), width), PADDING_ID, dtype=arrays[0].dtype)
    start = 0
    for array in arrays:
        batch[start : start + len(array), : array.shape[1]] = array
        start += len(array)
    return batch


def _settle(work: Work, outcome: Outcome) -> None:
    """Give a waiting client its answer; the client may have left."""
    if work.future.done():
        return
    if isinstance(outcome, ServingError):
        work.future.set_exception(outcome)
    else:
        work.future.set_result(outcome)
