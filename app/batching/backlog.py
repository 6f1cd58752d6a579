"""The waiting work of one model version: the queue, what admission counts, and what is observed change together."""

from collections.abc import Sequence

from app.batching.admission import Admission
from app.batching.batch_run import settle
from app.batching.queue import WorkQueue
from app.batching.work import Batch, BatchObserver, Work
from app.errors import DeadlineExceeded, ServingError


class Backlog:
    """Admits work, and returns it as batches or answers it with an error. Only for the event loop.

    Args:
        queue: chooses the batches.
        admission: refuses what cannot be answered in time.
        observer: records every change.
    """

    def __init__(self, queue: WorkQueue, admission: Admission, observer: BatchObserver) -> None:
        self.queue = queue
        self.admission = admission
        self._observer = observer

    def add(self, works: Sequence[Work], *, running_s: float | None, now: float) -> None:
        """Add the works of one request, all or none; raises what ``Admission.admit`` raises."""
        self.admission.admit(works, running_s=running_s, now=now)
        for work in works:
            self.queue.push(work)
        self._changed()

    def take(self, now: float) -> Batch | None:
        """Remove the next batch; None if no work waits. Work whose deadline has passed is refused."""
        taken = self.queue.take_batch(now=now)
        for work in taken.cancelled:
            self._drop(work, "cancelled")
        for work in taken.expired:
            self._drop(work, "expired")
            settle(
                work, DeadlineExceeded(f"the timeout of {work.timeout_s * 1e3:g} ms passed while the request waited")
            )
        for work in taken.batch.works if taken.batch is not None else ():
            self.admission.release(work)
        self._changed()
        return taken.batch

    def fail(self, error: ServingError) -> None:
        """Answer all waiting work with an error."""
        for work in self.queue.drain():
            self.admission.release(work)
            settle(work, error)
        self._changed()

    def _drop(self, work: Work, reason: str) -> None:
        self.admission.release(work)
        self._observer.work_dropped(rows=work.rows, reason=reason)

    def _changed(self) -> None:
        self._observer.queue_changed(rows=self.admission.rows, nbytes=self.admission.nbytes)
