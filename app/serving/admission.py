"""Pure policy: may a request join the queue of its model version?"""

import math
from dataclasses import dataclass

from app.errors import Draining, QueueFull, TooLarge


@dataclass(slots=True)
class Admission:
    """Rows and bytes waiting for one model version, and the limits on them.

    Attributes:
        max_queue_rows, max_queue_bytes: limits on what waits; what runs does not count.
        rows, nbytes: waiting now.
        draining: the process is stopping and takes no new work.
    """

    max_queue_rows: int
    max_queue_bytes: int
    rows: int = 0
    nbytes: int = 0
    draining: bool = False

    def check_open(self) -> None:
        """Refuse cheaply, before the body is read, what cannot be admitted whatever it holds.

        Raises:
            Draining: the process is stopping.
            QueueFull: not one more row fits.
        """
        if self.draining:
            raise Draining("the service is shutting down")
        if self.rows >= self.max_queue_rows or self.nbytes >= self.max_queue_bytes:
            raise QueueFull(f"{self.rows} instances ({self.nbytes} bytes) wait already; try again")

    def admit(self, *, rows: int, nbytes: int, seconds_per_row: float) -> None:
        """Count a request in.

        Args:
            rows, nbytes: of the whole request.
            seconds_per_row: measured, for the Retry-After of a refusal.

        Raises:
            TooLarge: more than the queue could ever hold.
            Draining, QueueFull: as ``check_open``.
        """
        if rows > self.max_queue_rows or nbytes > self.max_queue_bytes:
            raise TooLarge(
                f"request holds {rows} instances ({nbytes} bytes); "
                f"at most {self.max_queue_rows} instances and {self.max_queue_bytes} bytes fit the queue"
            )
        if self.draining:
            raise Draining("the service is shutting down")
        if self.rows + rows > self.max_queue_rows or self.nbytes + nbytes > self.max_queue_bytes:
            raise QueueFull(
                f"{self.rows} instances wait and {rows} more exceed max_queue_rows={self.max_queue_rows} "
                f"or max_queue_bytes={self.max_queue_bytes}; try again",
                retry_after_s=max(1, math.ceil(self.rows * seconds_per_row)),
            )
        self.rows += rows
        self.nbytes += nbytes

    def release(self, *, rows: int, nbytes: int) -> None:
        """Count rows and bytes out: they left the queue, to run or not."""
        self.rows -= rows
        self.nbytes -= nbytes
