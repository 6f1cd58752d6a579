"""Pure policy: may a request join the queue of its model version?"""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from app.batching.work import Work
from app.errors import DeadlineExceeded, DeadlineOutOfReach, Draining, ModelNotReady, QueueFull, TooLarge

# Each batch moves the pace by this share of the difference; a single interrupted batch changes it little.
_PACE_WEIGHT = 0.1
_MOST_PACE = 10.0
# Largest ratio of actual to estimated time of an answer: work that misses its deadline was computed for nothing.
_MARGIN = 1.1
TOO_LONG = "a batch runs for longer than max_execution_ms allows"
ALL_HANG = f"every backend of the version hangs: {TOO_LONG}"


@dataclass(slots=True)
class Admission:
    """Rows, bytes and estimated seconds of the waiting work of one model version, and their limits.

    Attributes:
        max_queue_rows, max_queue_bytes, max_queue_s: limits on waiting work; running work does not count.
        levels: number of priority levels.
        instances: batches that run in parallel; 0 if every backend hangs.
        rows, nbytes: waiting now.
        decoding: requests whose images or texts are being decoded, or wait for that; each counts as one row.
        seconds: estimate for the waiting work, per priority level, in full batches.
        turnover: grows whenever work leaves the queue; while it stays the same, a full queue stays full.
        pace: ratio of actual to estimated time of full batches that followed one another: the event loop and the other
            models use the processor too.
        batch_s: estimate for a full batch; an answer is sent only after its whole batch.
        draining: the process is stopping, or the version is unloading, and takes no new work.
    """

    max_queue_rows: int
    max_queue_bytes: int
    levels: int = 1
    instances: int = 1
    max_queue_s: float = math.inf
    rows: int = 0
    nbytes: int = 0
    decoding: int = 0
    turnover: int = 0
    pace: float = 1.0
    batch_s: float = 0.0
    seconds: list[float] = field(init=False)
    draining: bool = False

    def __post_init__(self) -> None:
        self.seconds = [0.0] * self.levels

    @contextmanager
    def decoding_one(self) -> Iterator[None]:
        """Count a request while its images or texts are decoded."""
        self.decoding += 1
        try:
            yield
        finally:
            self.decoding -= 1

    def observe_pace(self, times: float) -> None:
        """Update the pace from a full batch that was followed directly by the next one; it took ``times`` the estimate.

        Only full batches count: between two small batches the event loop takes many times as long as the batches.
        After a batch that left nothing waiting, ``times`` is 1, because there is no pressure any more.
        """
        self.pace += _PACE_WEIGHT * (min(times, _MOST_PACE) - self.pace)

    def check_open(self, *, level: int = 1, running_s: float | None = None, left_s: float = math.inf) -> None:
        """Refuse a request that cannot be admitted with any content, before its body is read or decoded.

        Args:
            level: priority level of the request, or 1 if it is not known yet.
            running_s: estimated seconds until an instance is free; None if one is free now.
            left_s: seconds until the deadline of the request.

        Raises:
            Draining: the process is stopping.
            ModelNotReady: every instance hangs.
            QueueFull: not one more row fits.
            DeadlineOutOfReach: the waiting work takes until after the deadline.
        """
        self._check_taking()
        if self.rows + self.decoding >= self.max_queue_rows or self.nbytes >= self.max_queue_bytes:
            raise QueueFull(
                f"{self.rows + self.decoding} instances ({self.nbytes} bytes) wait already; try again",
                retry_after_s=self._backlog_s(),
            )
        if self.rows:
            self._check_wait(self._ahead_s(level, running_s), 0.0, left_s)

    def admit(self, works: Sequence[Work], *, running_s: float | None, now: float) -> None:
        """Count the works of a request as waiting.

        Args:
            works: of one request, all with the same level and deadline.
            running_s: estimated seconds until an instance is free; None if one is free now.
            now: monotonic seconds.

        Raises:
            TooLarge: more than fits into an empty queue.
            Draining, ModelNotReady, QueueFull: as ``check_open``.
            DeadlineOutOfReach: even in full batches, spread over the instances, the work ahead takes until after the
                deadline. An idle backend accepts any request, so that a wrong estimate is corrected.
        """
        rows, nbytes, cost_s = 0, 0, 0.0
        for work in works:
            rows += work.rows
            nbytes += work.nbytes
            cost_s += work.cost_s
        if rows > self.max_queue_rows or nbytes > self.max_queue_bytes:
            raise TooLarge(
                f"request holds {rows} instances ({nbytes} bytes); "
                f"at most {self.max_queue_rows} instances and {self.max_queue_bytes} bytes fit the queue"
            )
        self._check_taking()
        if self.rows + rows > self.max_queue_rows or self.nbytes + nbytes > self.max_queue_bytes:
            raise QueueFull(
                f"{self.rows} instances wait and {rows} more exceed max_queue_rows={self.max_queue_rows} "
                f"or max_queue_bytes={self.max_queue_bytes}; try again",
                retry_after_s=self._backlog_s(),
            )
        level = works[0].level
        if running_s is not None or self.rows:
            self._check_wait(
                self._ahead_s(level, running_s), cost_s / min(self.instances, len(works)), works[0].deadline - now
            )
        self.rows += rows
        self.nbytes += nbytes
        self.seconds[level - 1] += cost_s

    def _check_taking(self) -> None:
        if self.draining:
            raise Draining("the service is shutting down")
        if self.instances == 0:
            raise ModelNotReady(ALL_HANG)

    def release(self, work: Work) -> None:
        """Subtract work that left the queue, whether it runs or not."""
        self.turnover += 1
        self.rows -= work.rows
        self.nbytes -= work.nbytes
        self.seconds[work.level - 1] -= work.cost_s
        if self.rows == 0:  # an empty queue removes rounding errors
            self.seconds = [0.0] * self.levels

    def _ahead_s(self, level: int, running_s: float | None) -> float:
        """Estimated seconds until all work ahead of the level is done."""
        seconds = self.seconds
        waiting_s = seconds[0] if level == 1 else sum(seconds[:level])
        return self.pace * ((running_s or 0.0) + waiting_s / self.instances)

    def _check_wait(self, ahead_s: float, cost_s: float, left_s: float) -> None:
        seconds = self.seconds
        with_others_s = cost_s + (seconds[0] if len(seconds) == 1 else sum(seconds))
        with_others_s = min(with_others_s, self.batch_s)
        own_s = self.pace * (cost_s if cost_s > with_others_s else with_others_s)
        if ahead_s > self.max_queue_s:
            raise QueueFull(
                f"{self.rows} instances wait and take about {ahead_s * 1e3:.0f} ms, more than max_queue_s="
                f"{self.max_queue_s:g}; try again",
                retry_after_s=_whole_seconds(ahead_s),
            )
        if left_s <= 0:
            raise DeadlineExceeded("the timeout passed before the request could be queued")
        if (needed_s := _MARGIN * (ahead_s + own_s)) > left_s:
            raise DeadlineOutOfReach(
                f"the answer would take about {needed_s * 1e3:.1f} ms, {self.rows} instances wait; "
                f"the timeout leaves {left_s * 1e3:.1f} ms; try again",
                retry_after_s=_whole_seconds(ahead_s),
            )

    def _backlog_s(self) -> int:
        """Whole seconds until the waiting work is done."""
        return _whole_seconds(self.pace * sum(self.seconds) / self.instances)


def _whole_seconds(seconds: float) -> int:
    """Seconds rounded up to whole ones from microseconds on, at least 1."""
    return max(1, math.ceil(round(seconds, 6)))
