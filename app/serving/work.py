"""Work, Batch and the times they keep."""

import asyncio
from dataclasses import dataclass
from typing import Protocol

from app.runtime.backend import Array, Tensors

Answer = dict[str, Array]


@dataclass(slots=True, eq=False)
class Work:
    """One queue entry: rows of one request that run in one backend call.

    Attributes:
        inputs: input name -> (rows, *shape), validated.
        rows: instances.
        nbytes: bytes of the inputs.
        enqueued_at, deadline: monotonic seconds.
        future: where the answer goes. Done before the answer is there means that the client left.
        started_at, finished_at: monotonic seconds of the backend call; 0 until then.
    """

    inputs: Tensors
    rows: int
    nbytes: int
    enqueued_at: float
    deadline: float
    future: asyncio.Future[Answer]
    started_at: float = 0.0
    finished_at: float = 0.0


@dataclass(slots=True)
class Batch:
    """What one backend call runs.

    Attributes:
        works: oldest first.
        rows: instances of all of them.
        reason: why the batch closed: "idle" (all that waited), "full" or "delay".
    """

    works: list[Work]
    rows: int
    reason: str


@dataclass(slots=True)
class Timings:
    """Seconds that one request spent in each stage."""

    read: float = 0.0
    decode: float = 0.0
    queue: float = 0.0
    compute: float = 0.0
    encode: float = 0.0


class BatchObserver(Protocol):
    """Is told what happens in a model's queue; ``telemetry.metrics`` implements it."""

    def batch_closed(self, *, rows: int, reason: str, compute_s: float, padding: float) -> None:
        """A backend call ended: its instances, why it closed, its seconds, its share of padding (0 to 1)."""
        ...

    def work_dropped(self, *, rows: int, reason: str) -> None:
        """Instances left the queue without being run: "cancelled" or "expired"."""
        ...

    def queue_changed(self, *, rows: int, nbytes: int) -> None:
        """Instances and bytes waiting now."""
        ...


@dataclass(slots=True)
class Prediction:
    """The answer to one request.

    Attributes:
        outputs: output name -> (rows, *shape).
        rows: instances answered.
        queue_s, compute_s: the longest wait and the longest call among the request's works.
    """

    outputs: Answer
    rows: int
    queue_s: float = 0.0
    compute_s: float = 0.0
