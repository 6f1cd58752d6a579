"""Pure policy: which work forms the next batch, and when. Knows no event loop."""

from bisect import bisect_left
from collections import deque
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, field

from app.batching.work import Batch, Work


@dataclass(slots=True)
class Taken:
    """What ``take_batch`` removed from the queue.

    Attributes:
        batch: to be run; None when nobody is waiting any more.
        cancelled: work whose client left.
        expired: work whose deadline passed; somebody still waits for the refusal.
    """

    batch: Batch | None = None
    cancelled: list[Work] = field(default_factory=list)
    expired: list[Work] = field(default_factory=list)


class WorkQueue:
    """Waiting work of one model version, by priority level and, within it, by what may share a batch.

    Args:
        max_batch_size: most instances (rows, not requests) in one batch; no work has more.
        length_buckets: increasing; lengths up to the same limit share batches. Empty lets all lengths share.
        levels: number of priority levels; 1 is the highest.
    """

    def __init__(self, *, max_batch_size: int, length_buckets: Sequence[int] = (), levels: int = 1) -> None:
        self._max_batch_size = max_batch_size
        self._buckets = tuple(length_buckets)
        # A lane holds works that may share a batch, oldest first; empty lanes are removed.
        self._levels: list[dict[Hashable, deque[Work]]] = [{} for _ in range(levels)]
        self._arrivals = 0

    def __bool__(self) -> bool:
        return any(self._levels)

    def __iter__(self) -> Iterator[Work]:
        for lanes in self._levels:
            for lane in lanes.values():
                yield from lane

    def push(self, work: Work) -> None:
        """Add work at the end of its lane."""
        work.arrival = self._arrivals
        self._arrivals += 1
        self._levels[work.level - 1].setdefault(self.lane(work), deque()).append(work)

    def lane(self, work: Work) -> Hashable:
        """What the work has in common with all that may share its batch."""
        return (work.shape_key, bisect_left(self._buckets, work.length))

    def oldest(self) -> Work:
        """The work that waits longest, whatever its priority; there is one."""
        return min(self._heads(), key=lambda work: work.arrival)

    def rows_ready(self) -> int:
        """Instances that the next batch could hold, were it not limited; cancelled ones counted."""
        lane = self._next_lane()
        return sum(work.rows for lanes in self._levels for work in lanes.get(lane, ()))

    def earliest_deadline(self) -> float:
        """The nearest deadline of all that waits; there is something."""
        return min(work.deadline for work in self)

    def take_batch(self, *, now: float) -> Taken:
        """Remove the next batch: the oldest work of the highest level that has any, and what may join it.

        Neighbours in length join it in the order in which they came, its own level first. The head is never
        overtaken by work that needs less room, and every batch takes the oldest of its level: nothing starves there.

        Args:
            now: monotonic seconds.

        Returns:
            Work whose rows sum to at most ``max_batch_size``; beside it the work that was dropped unrun.

        Source: skipping abandoned entries at dequeue follows text-embeddings-inference core/src/queue.rs.
        """
        taken = Taken()
        while self:
            lane = self._next_lane()
            works, rows, full = self._take_lane(lane, taken, now)
            if works:
                reason = "full" if full or rows == self._max_batch_size else "bucket" if self else "idle"
                taken.batch = Batch(works, rows, reason)
                break
        return taken

    def drain(self) -> list[Work]:
        """Remove everything."""
        works = list(self)
        for lanes in self._levels:
            lanes.clear()
        return works

    def _take_lane(self, lane: Hashable, taken: Taken, now: float) -> tuple[list[Work], int, bool]:
        """Works of one lane across the levels, their rows, and whether the next one did not fit."""
        works: list[Work] = []
        rows = 0
        for lanes in self._levels:
            waiting = lanes.get(lane)
            while waiting:
                head = waiting[0]
                if head.future.done():
                    taken.cancelled.append(waiting.popleft())
                elif head.deadline <= now:
                    taken.expired.append(waiting.popleft())
                elif rows + head.rows > self._max_batch_size:
                    return works, rows, True
                else:
                    rows += head.rows
                    works.append(waiting.popleft())
            if waiting is not None:
                del lanes[lane]
        return works, rows, False

    def _next_lane(self) -> Hashable:
        """The lane of the oldest work of the highest level that has any."""
        lanes = next(lanes for lanes in self._levels if lanes)
        return min(lanes, key=lambda lane: lanes[lane][0].arrival)

    def _heads(self) -> Iterator[Work]:
        for lanes in self._levels:
            for lane in lanes.values():
                yield lane[0]


def seconds_to_wait(
    queue: WorkQueue, *, max_batch_size: int, max_queue_delay_s: float, compute_s: float, now: float
) -> tuple[float, str]:
    """How long an idle backend should still wait for company of the oldest work, and why it stops then.

    Args:
        queue: waiting work, not empty.
        max_batch_size: a batch of that many closes at once.
        max_queue_delay_s: largest age of the oldest work that waiting may cause.
        compute_s: estimated for what waits; a deadline is met only if the batch starts that much before it.
        now: monotonic seconds.

    Returns:
        Seconds, 0 means run now; "full", "delay" or "deadline".

    Source: the delay is the age of the oldest request, as in Triton's dynamic_batch_scheduler.cc.
    """
    if queue.rows_ready() >= max_batch_size:
        return 0.0, "full"
    delay_ends = queue.oldest().enqueued_at + max_queue_delay_s
    must_start = queue.earliest_deadline() - compute_s
    if must_start < delay_ends:
        return max(0.0, must_start - now), "deadline"
    return max(0.0, delay_ends - now), "delay"
