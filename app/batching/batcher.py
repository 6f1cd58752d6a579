"""Forms and runs the batches of one model version, on the event loop, without polling.

While all instances are busy, work queues up. A free instance takes everything that waits as its next batch. A batch
that is measured to be cheaper than some thread hops runs on the event loop itself (``rules.inline_below_s``).
"""

import asyncio
import logging
import math
from collections.abc import Callable, Iterable, Sequence
from functools import partial

from app.awaited_state import AwaitedState
from app.batching.admission import ALL_HANG, Admission
from app.batching.backlog import Backlog
from app.batching.batch_run import Outcome, padding_ratio, run_batch, settle
from app.batching.instances import Instance, Instances
from app.batching.queue import WorkQueue, seconds_to_wait
from app.batching.rules import BatchRules
from app.batching.wakeup import Wakeup
from app.batching.watchdog import Watchdog
from app.batching.work import Batch, BatchObserver, BatchSampler, BatchTimes, Work
from app.errors import BackendFailed, BackendHung, Draining, ModelNotReady, ServingError
from app.runtime.backend import Backend
from app.runtime.warmup import LatencyCurve
from app.types import Clock

log = logging.getLogger("atelier.batcher")


class Batcher:
    """The queue of one model version, and the backend calls in progress, at most one per instance.

    Args:
        instances: run the batches, at least one; closed with the batcher. Several instances never run on the event
            loop, so ``rules.inline_below_s`` is 0 for them.
        rules: when a batch closes and where it runs.
        curve: seconds per batch size; every batch refines it.
        admission: counts the waiting work.
        observer: records every batch.
        clock: monotonic seconds.
        finite_output: output that must not contain NaN or infinity; None allows them.
        sampler: looks at some of the batches; None: at none.

    Attributes:
        rules: as given.
    """

    def __init__(
        self,
        *,
        instances: Sequence[Instance],
        rules: BatchRules,
        curve: LatencyCurve,
        admission: Admission,
        observer: BatchObserver,
        clock: Clock,
        finite_output: str | None = None,
        sampler: BatchSampler | None = None,
    ) -> None:
        self.instances = Instances(instances)
        self._free = self.instances.free
        self._watchdog = Watchdog(self.instances.all, partial(self._guarded, self._hung), clock)
        self.rules = rules
        self._curve = curve
        self._admission = admission
        self._observer = observer
        self._clock = clock
        self._finite_output = finite_output
        self._sampler = sampler
        self._queue = WorkQueue(rules)
        self._backlog = Backlog(self._queue, admission, observer)
        self._wakeup = Wakeup()
        # Cached: Python 3.11 makes a system call for the process id each time it looks up the running loop.
        self._loop: asyncio.AbstractEventLoop | None = None
        self._idle = AwaitedState()

    @property
    def backend(self) -> Backend:
        """The backend of the first instance."""
        return self.instances.all[0].backend

    def sibling(
        self,
        *,
        share: Callable[[Backend], Backend],
        rules: BatchRules,
        curve: LatencyCurve,
        admission: Admission,
    ) -> "Batcher":
        """A copy of this batcher with these changes, without a sampler.

        ``share`` makes its backends from those of this one.
        """
        return Batcher(
            instances=self.instances.sharing(share),
            rules=rules,
            curve=curve,
            admission=admission,
            observer=self._observer,
            clock=self._clock,
            finite_output=self._finite_output,
        )

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The event loop of the batcher: the one that runs at the first access."""
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
        return self._loop

    def check_open(self, *, level: int = 1, left_s: float = math.inf) -> None:
        """Refuse a request that cannot be admitted with any content; see ``Admission.check_open``."""
        running_s = None if self._free or not self._admission.rows else self.instances.seconds_until_free(self._clock())
        self._admission.check_open(level=level, running_s=running_s, left_s=left_s)

    def submit(self, works: Sequence[Work]) -> None:
        """Queue the works of one request, all or none.

        Raises:
            TooLarge, QueueFull, Draining, ModelNotReady, DeadlineOutOfReach: see ``Admission.admit``.
        """
        now = works[0].enqueued_at
        size = self.rules.max_batch_size  # in a full batch
        for work in works:
            work.cost_s = work.rows * self._curve.per_row(size, work.length)
        running_s = None if self._free else self.instances.seconds_until_free(now)
        self._admission.batch_s = size * self._curve.per_row(size, works[0].length)
        self._backlog.add(works, running_s=running_s, now=now)
        if self._free:
            if not self._wakeup.is_set:
                # Run after the requests that are already readable on other connections, so that they share the batch.
                self._wakeup.soon(self._step, self.loop)
            elif self.rules.max_queue_delay_s and self._queue.rows_ready() >= self.rules.max_batch_size:
                self._wakeup.soon(self._step, self.loop)  # a full batch does not wait for the rest of the delay

    def run_gathered(self) -> None:
        """Run the waiting work in this turn, if an instance is free: its requests have been gathered for a turn."""
        if self._free and self._wakeup.is_set and not self.rules.max_queue_delay_s:
            self._wakeup.cancel()
            self._guarded(self._next)

    async def drained(self) -> None:
        """Return once no work waits and no batch runs."""
        if not self.is_idle:
            await self._idle.wait()

    async def rested(self) -> None:
        """Return once no work waits and no batch runs, and the requests that have arrived by then are queued."""
        while True:
            await self.drained()
            await asyncio.sleep(0)  # lets connections be read
            await asyncio.sleep(0)  # lets what was read be queued
            if self.is_idle:
                return

    def fail_unfinished(self, error: ServingError | None = None) -> None:
        """Answer all waiting and running work with ``error``, or with Draining without one.

        Results of calls in progress are discarded.
        """
        self._fail(self.instances.all, error or Draining("the service shut down before this request was answered"))

    def _fail(self, instances: Iterable[Instance], error: ServingError) -> None:
        """Answer with ``error`` the waiting work and the work that runs on these instances."""
        for instance in instances:
            for work in instance.running.works if instance.running else ():
                settle(work, error)
        self._backlog.fail(error)
        self._set_idle_if_empty()

    def stop(self, error: ServingError | None = None) -> None:
        """Answer all waiting and running work with ``error``, or with Draining without one, and start nothing more.

        Call it on the event loop, before ``close``.
        """
        self._wakeup.cancel()
        self._watchdog.close()
        self.fail_unfinished(error)

    def close(self) -> None:
        """Free the backends, in any thread; see ``Instances.close``. Blocks while it waits for calls in progress."""
        self.instances.close()

    def _step(self) -> None:
        self._guarded(self._next)

    def _guarded(self, step: Callable[..., None], *arguments: object) -> None:
        """Take a step. If our own code fails in it, fail the waiting work and continue with the next request.

        Batches on other instances are answered as usual.
        """
        try:
            step(*arguments)
        except Exception as error:
            log.exception("the batcher failed; all waiting requests are answered with an error")
            self._wakeup.cancel()  # first: who receives an error may submit again
            self._fail(self._free, BackendFailed(f"the batcher failed: {error}"))
            for instance in self._free:
                instance.running = None

    def _next(self) -> None:
        """Run the waiting work, now or when the delay is over. Runs on the event loop while an instance is free."""
        waited_for = "idle"
        if self._queue and self.rules.max_queue_delay_s:
            wait_s, waited_for = seconds_to_wait(
                self._queue,
                max_batch_size=self.rules.max_batch_size,
                max_queue_delay_s=self.rules.max_queue_delay_s,
                compute_s=self._curve.estimate(self._admission.rows, self._queue.oldest().length),
                now=self._clock(),
            )
            if wait_s > 0:
                self._wakeup.after(wait_s, self._step, self.loop)
                return
        batch = self._backlog.take(self._clock())
        if batch is None:
            self._set_idle_if_empty()
            return
        if batch.reason != "full" and waited_for != "idle":
            batch.reason = waited_for
        self._start(batch)

    def _start(self, batch: Batch) -> None:
        """Run a batch on the event loop if it is estimated to be short enough, otherwise in the instance's thread."""
        instance = self._free[0]
        estimate_s = self._curve.estimate(batch.rows, batch.length)
        now = self._clock()
        if (times := instance.begin(batch, now=now, estimate_s=estimate_s)) is not None:
            self._admission.observe_pace(times)
        run = partial(run_batch, instance.backend, batch, self.rules, self._clock, self._finite_output)
        if estimate_s < self.rules.inline_below_s:
            self._finish(instance, batch, *run())
            return
        instance.free_at = now + estimate_s
        allowed_s = self.rules.seconds_allowed(estimate_s) + self.rules.grace_s
        self._watchdog.watch(instance, now=now, allowed_s=allowed_s, loop=self.loop)
        ran = partial(self._guarded, self._ran, instance, batch)
        instance.run(run, ran, self.loop, work_waits=bool(self._queue))
        self._free.popleft()
        if self._free and self._queue:
            self._wakeup.soon(self._step, self.loop)

    def _ran(self, instance: Instance, batch: Batch, ran: tuple[list[Outcome], BatchTimes] | Exception) -> None:
        """Called on the event loop when the thread of an instance has finished a batch."""
        self._free.append(instance)
        if faults := instance.new_faults():
            self._observer.device_failed(times=faults)
        if instance.hangs:
            self._returned(instance)
            return
        if isinstance(ran, Exception):
            raise ran
        if any(isinstance(outcome, BackendHung) for outcome in ran[0]):  # and the backend has ended that call itself
            instance.condition.hangs += 1
            self._observer.batch_hung()
        self._finish(instance, batch, *ran)

    def _hung(self, instance: Instance) -> None:
        """Handle a batch that has run for too long: fail its clients, and leave new work to the other instances."""
        assert instance.running is not None
        works, instance.running = instance.running.works, None
        error = self.instances.exclude(instance, self._admission)
        self._observer.batch_hung()
        for work in works:
            settle(work, error)
        if not self.instances.usable:
            self._fail((), ModelNotReady(ALL_HANG))
        self._set_idle_if_empty()

    def _returned(self, instance: Instance) -> None:
        """Called when a hung call has returned; its result is not needed."""
        self.instances.include(instance, self._admission)
        if self._queue and not self._wakeup.is_set:
            self._wakeup.soon(self._step, self.loop)
        self._set_idle_if_empty()

    def _finish(self, instance: Instance, batch: Batch, outcomes: list[Outcome], times: BatchTimes) -> None:
        """Set the answers and continue with the work that arrived in the meantime. Runs on the event loop."""
        instance.running = None
        for work, outcome in zip(batch.works, outcomes, strict=True):
            settle(work, outcome)
        self._curve.observe(batch.rows, times.input_s + times.infer_s + times.output_s, batch.length)
        self._observer.batch_done(
            rows=batch.rows,
            reason=batch.reason,
            times=times,
            padding=padding_ratio(batch.works, allowed_batch_sizes=self.rules.allowed_batch_sizes),
        )
        if self._sampler is not None and batch.works[0].finished_at >= self._sampler.next_at:
            self._sampler.take(batch.works, outcomes)
        instance.is_pressed = bool(self._queue) and batch.reason == "full"
        if not self._queue:
            self._admission.observe_pace(1.0)
            self._set_idle_if_empty()
        elif not self._wakeup.is_set:  # with several instances, a free one may be waiting for a delay to end
            self._wakeup.soon(self._step, self.loop)

    @property
    def is_idle(self) -> bool:
        """Whether no work waits and no batch runs."""
        return not self._queue and len(self._free) == self.instances.usable

    def _set_idle_if_empty(self) -> None:
        if self.is_idle:
            self._idle.reach()
