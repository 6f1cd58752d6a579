"""Pure policy: which work forms the next batch, and when. Knows no event loop."""

from collections import deque
from dataclasses import dataclass

from app.serving.work import Batch, Work


@dataclass(slots=True)
class Taken:
    """What ``take_batch`` removed from the queue.

    Attributes:
        batch: to be run; None when nobody is waiting any more.
        cancelled: work whose client left.
        expired: work whose deadline passed; somebody still waits for the refusal.
    """

    batch: Batch | None
    cancelled: list[Work]
    expired: list[Work]


def take_batch(queue: deque[Work], *, max_batch_size: int, now: float) -> Taken:
    """Remove the next batch from the head of ``queue``, oldest first; the head is never overtaken.

    Args:
        queue: waiting work, oldest at index 0; no work has more than ``max_batch_size`` rows.
        max_batch_size: most instances (rows, not requests) in one backend call.
        now: monotonic seconds.

    Returns:
        Work whose rows sum to at most ``max_batch_size``; beside it the work that was dropped unrun.

    Source: skipping abandoned entries at dequeue follows text-embeddings-inference core/src/queue.rs.
    """
    works: list[Work] = []
    cancelled: list[Work] = []
    expired: list[Work] = []
    rows = 0
    while queue:
        head = queue[0]
        if head.future.done():
            cancelled.append(queue.popleft())
        elif head.deadline <= now:
            expired.append(queue.popleft())
        elif rows + head.rows > max_batch_size:
            return Taken(Batch(works, rows, "full"), cancelled, expired)
        else:
            rows += head.rows
            works.append(queue.popleft())
    reason = "full" if rows == max_batch_size else "idle"
    return Taken(Batch(works, rows, reason) if works else None, cancelled, expired)


def seconds_to_wait(
    queue: deque[Work], *, rows: int, max_batch_size: int, max_queue_delay_s: float, now: float
) -> float:
    """How long an idle backend should still wait for company of the oldest work.

    Args:
        queue: waiting work, not empty.
        rows: instances in it.
        max_batch_size: a batch of that many closes at once.
        max_queue_delay_s: largest age of the oldest work that waiting may cause.
        now: monotonic seconds.

    Returns:
        Seconds; 0 means run now.

    Source: the delay is the age of the oldest request, as in Triton's dynamic_batch_scheduler.cc.
    """
    if rows >= max_batch_size:
        return 0.0
    return max(0.0, queue[0].enqueued_at + max_queue_delay_s - now)
