"""One decoded request: validated, queued, computed. Read this first."""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import cast

from app.batching.work import DEFAULT_OPTIONS, Answer, Awaited, Prediction, RequestOptions, Work
from app.errors import TooLarge
from app.loaded import LoadedModel
from app.runtime.backend import byte_count, row_count
from app.serving.split import Split, split
from app.serving.validation import conform
from app.types import Clock, Tensors

Receiver = Callable[[], Awaited | asyncio.Future[Answer]]

MOST_ANSWER_BYTES = 16 * 2**20
"""Most bytes of the tensors of an answer to several instances, the same limit as for a request. As JSON they are up to
four times as long. The answer to a single instance may have any size that its contract states."""
LARGEST_ANSWER_BYTES = 64 * 2**20
"""Most bytes of an answer whose size only the values of the inputs decide, as for the operation Range."""


async def predict(
    model: LoadedModel,
    inputs: Tensors,
    options: RequestOptions = DEFAULT_OPTIONS,
    *,
    clock: Clock,
    began: float | None = None,
) -> Prediction:
    """Answer one request. Cancelling the caller removes work that still waits from the queue.

    Args:
        model: the version that answers; the caller keeps its lease until the reply is sent.
        inputs: input name -> (rows, *shape) as decoded from the wire.
        options: priority and timeout.
        clock: monotonic seconds.
        began: arrival of the first byte of the request, monotonic seconds, from which its timeout counts; None: now.

    Returns:
        Outputs in the order of the rows, with their waiting and running times.

    Raises:
        InvalidInput: the inputs break a rule of the signature.
        TooLarge: the answer would be too large, the request does not fit into the empty queue, or it has an optional
            input and does not fit a batch.
        QueueFull: the queue has no room.
        Draining: the version is being unloaded, or the service stops.
        ModelNotReady: the backend calls of all instances hang.
        DeadlineOutOfReach: the answer would come after the deadline because of the waiting work.
        DeadlineExceeded: the timeout of the request, or of the model, passed in the queue.
        BackendFailed: the runtime failed on these rows, or a score is not a number.
    """
    queued = enqueue(model, inputs, options, clock=clock, began=began, receiver=model.batcher.loop.create_future)
    futures = cast("list[asyncio.Future[Answer]]", [work.future for work in queued.works])
    try:
        answers = [await futures[0]] if len(futures) == 1 else await asyncio.gather(*futures)
    finally:
        for future in futures:  # the rest of a request that failed or whose client left need not run
            if not future.done():
                future.cancel()
    return queued.prediction(answers)


@dataclass(slots=True)
class Queued:
    """A request whose works wait in the queue.

    Attributes:
        model: the version that answers.
        request: its parts.
        works: one for each part; their futures receive the answers.
        rows: instances of all parts.
    """

    model: LoadedModel
    request: Split
    works: list[Work]
    rows: int

    def parts(self) -> "Iterator[tuple[Iterable[int], Queued]]":
        """Each work as a request of its own, with the indices of its rows in this one."""
        start = 0
        for part, work in zip(self.request.parts, self.works, strict=True):
            stop = start + part.rows
            rows = range(start, stop) if self.request.order is None else self.request.order[start:stop].tolist()
            yield rows, Queued(self.model, Split([part]), [work], part.rows)
            start = stop

    def prediction(self, answers: Sequence[Answer]) -> Prediction:
        """The answer to the request from those to its works. Raises TooLarge, see ``predict``."""
        outputs, works = self.request.join(answers), self.works
        if not self.model.answer_is_bounded and (nbytes := byte_count(outputs)) > LARGEST_ANSWER_BYTES:
            raise TooLarge(f"the answer holds {nbytes} bytes of numbers; at most {LARGEST_ANSWER_BYTES} are sent")
        if len(works) == 1:
            (work,) = works
            queue_s, compute_s = work.started_at - work.enqueued_at, work.finished_at - work.started_at
        else:
            queue_s = max([work.started_at - work.enqueued_at for work in works])
            compute_s = max([work.finished_at - work.started_at for work in works])
        return Prediction(outputs, self.rows, queue_s, compute_s)


def enqueue(
    model: LoadedModel,
    inputs: Tensors,
    options: RequestOptions,
    *,
    clock: Clock,
    began: float | None,
    receiver: Receiver,
) -> Queued:
    """Validate a request and queue its works; ``receiver`` makes what receives the answer to each.

    Other arguments and errors as ``predict``.
    """
    tensors = conform(inputs, model.spec)
    rows = row_count(tensors)
    if rows > 1:
        check_answer(rows, model)
        if model.has_optional:
            check_undivided(tensors, rows, model)
    request = split(tensors, sequence=model.sequence, rules=model.batcher.rules)
    now = clock()
    works = _works(request, model, options, now=now, began=now if began is None else began, receiver=receiver)
    model.batcher.submit(works)
    return Queued(model, request, works, rows)


def check_answer(rows: int, model: LoadedModel) -> None:
    """Refuse instances whose answers together are too large to encode and buffer.

    Raises:
        TooLarge: states their size.
    """
    nbytes = rows * model.answer_bytes
    if nbytes > MOST_ANSWER_BYTES:
        raise TooLarge(
            f"the answer to {rows} instances would hold {nbytes} bytes of numbers; at most {MOST_ANSWER_BYTES} are "
            f"sent, the answers to {max(1, MOST_ANSWER_BYTES // model.answer_bytes)} instances; send fewer at a time"
        )


def check_undivided(tensors: Tensors, rows: int, model: LoadedModel) -> None:
    """Refuse more instances than a batch has, with a value of an optional input: it may influence them together.

    Raises:
        TooLarge: states both numbers.
    """
    largest = model.batcher.rules.max_batch_size
    if rows > largest and (given := model.spec.given_optional(tensors.keys())):
        raise TooLarge(
            f"a request that gives the optional input {given[0]!r} runs as a whole: {rows} instances; send at most "
            f"{largest}"
        )


def _works(
    request: Split, model: LoadedModel, options: RequestOptions, *, now: float, began: float, receiver: Receiver
) -> list[Work]:
    """The queue entries of a request."""
    timeout_s = model.timeout_s(options)
    level = model.batcher.rules.level(options.priority)
    return [
        Work(
            inputs=part.inputs,
            rows=part.rows,
            nbytes=byte_count(part.inputs),
            enqueued_at=now,
            deadline=began + timeout_s,
            timeout_s=timeout_s,
            future=receiver(),
            level=level,
            length=part.length,
            shape_key=model.shape_key(part.inputs),
            as_sent=model.gives_optional(part.inputs),
            is_probe=options.is_probe,
        )
        for part in request.parts
    ]
