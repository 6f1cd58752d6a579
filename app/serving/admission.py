"""Pure policy: may a request join the queue of its model version?"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from app.errors import DeadlineOutOfReach, Draining, ModelNotReady, QueueFull, TooLarge
from app.serving.work import Work


@dataclass(slots=True)
class Admission:
    """Rows, bytes and estimated seconds of what waits for one model version, and the limits on them.

    Attributes:
        max_queue_rows, max_queue_bytes: limits on what waits; what runs does not count.
        levels: number of priority levels.
        instances: batches that run at once.
        rows, nbytes: waiting now.
        seconds: estimated for what waits, per priority level, in full batches.
        hung: why no instance can take a batch; empty if one can.
        draining: the process is stopping, or the version is unloading, and takes no new work.
    """

    max_queue_rows: int
    max_queue_bytes: int
    levels: int = 1
    instances: int = 1
    rows: int = 0
    nbytes: int = 0
    seconds: list[float] = field(init=False)
    hung: str = ""
    draining: bool = False

    def __post_init__(self) -> None:
        self.seconds = [0.0] * self.levels

    def check_open(self) -> None:
        """Refuse cheaply, before the body is read, what cannot be admitted whatever it holds.

        Raises:
            Draining: the process is stopping.
            ModelNotReady: every instance hangs.
            QueueFull: not one more row fits.
        """
        if self.draining:
            raise Draining("the service is shutting down")
        if self.hung:
            raise ModelNotReady(self.hung)
        if self.rows >= self.max_queue_rows or self.nbytes >= self.max_queue_bytes:
            raise QueueFull(
                f"{self.rows} instances ({self.nbytes} bytes) wait already; try again", retry_after_s=self._backlog_s()
            )

    def admit(self, works: Sequence[Work], *, running_s: float | None, now: float) -> None:
        """Count a request in.

        Args:
            works: of one request, all of one level and with one deadline.
            running_s: estimated until an instance is free; None when one is free now.
            now: monotonic seconds.

        Raises:
            TooLarge: more than the queue could ever hold.
            Draining, ModelNotReady, QueueFull: as ``check_open``.
            DeadlineOutOfReach: even in full batches, spread over the instances, what is ahead takes until after the
                deadline. An idle backend takes any request, so that a wrong estimate is corrected.
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
        if self.draining:
            raise Draining("the service is shutting down")
        if self.hung:
            raise ModelNotReady(self.hung)
        if self.rows + rows > self.max_queue_rows or self.nbytes + nbytes > self.max_queue_bytes:
            raise QueueFull(
                f"{self.rows} instances wait and {rows} more exceed max_queue_rows={self.max_queue_rows} "
                f"or max_queue_bytes={self.max_queue_bytes}; try again",
                retry_after_s=self._backlog_s(),
            )
        level = works[0].level
        if running_s is not None or self.rows:
            ahead_s = (running_s or 0.0) + sum(self.seconds[:level]) / self.instances
            own_s = cost_s / min(self.instances, len(works))
            left_s = works[0].deadline - now
            if ahead_s + own_s > left_s:
                raise DeadlineOutOfReach(
                    f"the answer would take about {(ahead_s + own_s) * 1e3:.1f} ms, {self.rows} instances wait; "
                    f"the timeout leaves {left_s * 1e3:.1f} ms; try again",
                    retry_after_s=_whole_seconds(ahead_s),
                )
        self.rows += rows
        self.nbytes += nbytes
        self.seconds[level - 1] += cost_s

    def release(self, work: Work) -> None:
        """Count work out: it left the queue, to run or not."""
        self.rows -= work.rows
        self.nbytes -= work.nbytes
        self.seconds[work.level - 1] -= work.cost_s
        if self.rows == 0:  # no rounding error outlives the queue
            self.seconds = [0.0] * self.levels

    def _backlog_s(self) -> int:
        """Whole seconds until what waits now is done."""
        return _whole_seconds(sum(self.seconds) / self.instances)


def _whole_seconds(seconds: float) -> int:
    """At least 1, rounded up from microseconds on."""
    return max(1, math.ceil(round(seconds, 6)))
