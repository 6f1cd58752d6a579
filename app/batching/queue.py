"""Pure policy: which work forms the next batch, and when. Independent of the event loop."""

from collections import deque
from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field

from app.batching.rules import BatchRules
from app.batching.work import Batch, Work


@dataclass(slots=True)
class Taken:
    """Work that ``take_batch`` removed from the queue.

    Attributes:
        batch: to be run; None if no work is waiting any more.
        cancelled: work whose client left.
        expired: work whose deadline passed; its client still waits for the refusal.
    """

    batch: Batch | None = None
    cancelled: list[Work] = field(default_factory=list)
    expired: list[Work] = field(default_factory=list)


class WorkQueue:
    """Waiting work of one model version, by priority level, and within a level by what may share a batch.

    Args:
        rules: its sizes, length buckets and priority levels; no work has more rows than a batch.
    """

    def __init__(self, rules: BatchRules) -> None:
        self._rules = rules
        self._max_batch_size = rules.max_batch_size
        # A lane contains works that may share a batch, oldest first; empty lanes are removed.
        self._levels: list[dict[Hashable, deque[Work]]] = [{} for _ in range(rules.priority_levels)]
        self._arrivals = 0
        self._count = 0

    def __bool__(self) -> bool:
        return self._count > 0

    def __iter__(self) -> Iterator[Work]:
        for lanes in self._levels:
            for lane in lanes.values():
                yield from lane

    def push(self, work: Work) -> None:
        """Add work at the end of its lane."""
        work.arrival = self._arrivals
        self._arrivals += 1
        self._count += 1
        self._levels[work.level - 1].setdefault(self.lane(work), deque()).append(work)

    def lane(self, work: Work) -> Hashable:
        """The key shared by all works that may be in one batch."""
        return (work.shape_key, self._rules.bucket(work.length))

    def oldest(self) -> Work:
        """The work that has waited longest, with any priority. The queue must not be empty."""
        return min(self._heads(), key=lambda work: work.arrival)

    def rows_ready(self) -> int:
        """Instances that an unlimited next batch would contain, including cancelled ones."""
        lane = self._next_lane()
        return sum(work.rows for lanes in self._levels for work in lanes.get(lane, ()))

    def earliest_deadline(self) -> float:
        """The nearest deadline of all waiting work. The queue must not be empty."""
        return min(work.deadline for work in self)

    def take_batch(self, *, now: float) -> Taken:
        """Remove the next batch: the oldest work of the highest non-empty level, and further work that may join it.

        Works of similar length join in order of arrival, those of the same level first. Smaller work never overtakes
        the head, and every batch takes the oldest work of its level, so no work of a level starves.

        Args:
            now: monotonic seconds.

        Returns:
            Work whose rows sum to at most ``max_batch_size``, and separately the work that was dropped without running.

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
        """Remove and return all work."""
        works = list(self)
        for lanes in self._levels:
            lanes.clear()
        self._count = 0
        return works

    def _take_lane(self, lane: Hashable, taken: Taken, now: float) -> tuple[list[Work], int, bool]:
        """Works of one lane across the levels, their rows, and whether the next work did not fit."""
        works: list[Work] = []
        rows = 0
        for lanes in self._levels:
            waiting = lanes.get(lane)
            while waiting:
                head = waiting[0]
                left, late = head.future.done(), head.deadline <= now
                if not (left or late) and rows + head.rows > self._max_batch_size:
                    return works, rows, True
                waiting.popleft()
                self._count -= 1
                if left:
                    taken.cancelled.append(head)
                elif late:
                    taken.expired.append(head)
                else:
                    rows += head.rows
                    works.append(head)
            if waiting is not None:
                del lanes[lane]
        return works, rows, False

    def _next_lane(self) -> Hashable:
        """The lane of the oldest work of the highest non-empty level."""
        lanes = next(lanes for lanes in self._levels if lanes)
        if len(lanes) == 1:
            return next(iter(lanes))
        return min(lanes, key=lambda lane: lanes[lane][0].arrival)

    def _heads(self) -> Iterator[Work]:
        for lanes in self._levels:
            for lane in lanes.values():
                yield lane[0]


def seconds_to_wait(
    queue: WorkQueue, *, max_batch_size: int, max_queue_delay_s: float, compute_s: float, now: float
) -> tuple[float, str]:
    """Seconds for which an idle backend should wait for more work before it runs the oldest, and why the wait ends.

    Args:
        queue: waiting work, not empty.
        max_batch_size: a batch of this size closes immediately.
        max_queue_delay_s: largest age of the oldest work that waiting may cause.
        compute_s: estimate for the waiting work; to meet a deadline, the batch must start this much earlier.
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
