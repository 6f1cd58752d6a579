"""Work, Batch and their times."""

import asyncio
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Protocol

from app.types import Array, Tensors

Answer = dict[str, Array]


@dataclass(frozen=True, slots=True)
class RequestOptions:
    """Options of a request.

    Attributes:
        priority: 1 is the highest; 0 takes the model's default.
        timeout_s: seconds after which the answer is useless; None takes the model's default.
        is_probe: its instances are made by the service, not sent by a client, so no sampler looks at them.
    """

    priority: int = 0
    timeout_s: float | None = None
    is_probe: bool = False


DEFAULT_OPTIONS = RequestOptions()


class Awaited:
    """Receives the answer to one work, as a future does, and passes it on at once: a future takes another turn.

    It may be called from within any task.

    Attributes:
        then: called once, when this is done: with outputs, an error, or None if nobody awaits them any more.
    """

    __slots__ = ("_is_done", "then")

    def __init__(self) -> None:
        self._is_done = False
        self.then: Callable[[Answer | BaseException | None], None] | None = None

    def done(self) -> bool:
        """Whether it has an answer, or needs none."""
        return self._is_done

    def set_result(self, answer: Answer) -> None:
        """Pass on outputs."""
        self._end(answer)

    def set_exception(self, error: BaseException) -> None:
        """Pass on an error."""
        self._end(error)

    def cancel(self) -> None:
        """No answer is needed any more."""
        if not self._is_done:
            self._end(None)

    def _end(self, answer: Answer | BaseException | None) -> None:
        self._is_done = True
        then, self.then = self.then, None
        if then is not None:
            then(answer)


@dataclass(slots=True, eq=False)
class Work:
    """One queue entry: rows of one request that run in one backend call.

    Attributes:
        inputs: input name -> (rows, *shape), validated.
        rows: instances.
        nbytes: bytes of the inputs.
        enqueued_at, deadline: monotonic seconds.
        timeout_s: time from the first byte of the request to the deadline.
        future: receives the answer. If it is done before that, the client left.
        level: priority level, 1 is the highest.
        length: steps of the longest row of a sequence; 0 if all instances have the same shape.
        shape_key: equal for works whose shapes may share a batch.
        as_sent: it runs alone and without further rows, since its rows may influence one another.
        is_probe: see ``RequestOptions``.
        cost_s: estimated seconds of the backend, as part of a full batch.
        arrival: number in the order of arrival, set by the queue.
        started_at, finished_at: monotonic seconds of the backend call; 0 until then.
    """

    inputs: Tensors
    rows: int
    nbytes: int
    enqueued_at: float
    deadline: float
    future: Awaited | asyncio.Future[Answer]
    timeout_s: float = 0.0
    level: int = 1
    length: int = 0
    shape_key: Hashable = None
    as_sent: bool = False
    is_probe: bool = False
    cost_s: float = 0.0
    arrival: int = 0
    started_at: float = 0.0
    finished_at: float = 0.0


@dataclass(slots=True)
class Batch:
    """The works of one backend call.

    Attributes:
        works: oldest first.
        rows: instances of all of them.
        reason: why the batch closed: "full"; "idle" (it contains all waiting work); "bucket" (the remaining work has
            another length); "delay" (the oldest work waited long enough); "deadline" (a deadline allows no longer
            wait).
    """

    works: list[Work]
    rows: int
    reason: str

    @property
    def length(self) -> int:
        """Steps of the longest row."""
        works = self.works
        return works[0].length if len(works) == 1 else max([work.length for work in works])


@dataclass(slots=True)
class BatchTimes:
    """Seconds of one batch: stacking the inputs, the backend's calls, splitting the outputs."""

    input_s: float = 0.0
    infer_s: float = 0.0
    output_s: float = 0.0


@dataclass(slots=True)
class Timings:
    """Seconds that one request spent in each stage."""

    read: float = 0.0
    decode: float = 0.0
    queue: float = 0.0
    compute: float = 0.0
    encode: float = 0.0


class BatchObserver(Protocol):
    """Records the events in a model's queue; ``telemetry.metrics`` implements it."""

    def batch_done(self, *, rows: int, reason: str, times: BatchTimes, padding: float) -> None:
        """A batch ran: its instances, why it closed, its seconds, its share of padding (0 to 1)."""
        ...

    def batch_hung(self) -> None:
        """A batch was abandoned because its backend did not answer in time."""
        ...

    def device_failed(self, *, times: int) -> None:
        """The device failed this many times, in one or several batches; another device ran the affected work."""
        ...

    def work_dropped(self, *, rows: int, reason: str) -> None:
        """Instances left the queue without being run: "cancelled" or "expired"."""
        ...

    def queue_changed(self, *, rows: int, nbytes: int) -> None:
        """Instances and bytes waiting now."""
        ...


class BatchSampler(Protocol):
    """Looks at some of the batches that ran; ``drift.watch`` implements it.

    Attributes:
        next_at: monotonic seconds from which on a batch is sampled.
    """

    next_at: float

    def take(self, works: Sequence[Work], outcomes: Sequence[object]) -> None:
        """Sample a batch, whose answers are sent: for each work its outputs, or an error. Raises nothing."""
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
