"""One request through the data plane, top to bottom. Read this first."""

import asyncio

import numpy as np

from app.errors import BackendFailed
from app.runtime.backend import Array, Tensors, join_rows, row_count, take_rows
from app.runtime.warmup import Clock
from app.serving.model import LoadedModel
from app.serving.validation import conform
from app.serving.work import Answer, Prediction, Work


async def predict(model: LoadedModel, inputs: Tensors, *, clock: Clock) -> Prediction:
    """Answer one request.

    Args:
        model: the version that answers, held by the caller until the reply is out.
        inputs: input name -> (rows, *shape) as decoded from the wire.
        clock: monotonic seconds.

    Returns:
        Outputs in the order of the rows, and how long they waited and ran. Cancelling the caller
        takes work that still waits out of the queue.

    Raises:
        InvalidInput: the inputs break a rule of the signature.
        TooLarge, QueueFull, Draining: no room.
        DeadlineExceeded: the model's default timeout passed in the queue.
        BackendFailed: the runtime failed on these rows, or a probability is not a number.
    """
    tensors = conform(inputs, model.spec)
    works = _split(tensors, model, now=clock())
    model.batcher.submit(works)
    try:
        if len(works) == 1:
            parts = [await works[0].future]
        else:
            parts = await asyncio.gather(*(work.future for work in works))
    finally:
        for work in works:  # of a request that failed or whose client left, nothing more need run
            work.future.cancel()
    outputs = join_rows(parts)
    _check_scores(outputs, model)
    return Prediction(
        outputs=outputs,
        rows=row_count(tensors),
        queue_s=max(work.started_at - work.enqueued_at for work in works),
        compute_s=max(work.finished_at - work.started_at for work in works),
    )


def _split(tensors: dict[str, Array], model: LoadedModel, *, now: float) -> list[Work]:
    """Works of at most ``max_batch_size`` rows each: that limit bounds a backend call, never a request."""
    rows, size = row_count(tensors), model.batcher.max_batch_size
    deadline = now + model.default_timeout_s
    loop = asyncio.get_running_loop()
    works = []
    for start in range(0, rows, size):
        part = tensors if rows <= size else take_rows(tensors, start, start + size)
        works.append(
            Work(
                inputs=part,
                rows=row_count(part),
                nbytes=sum(values.nbytes for values in part.values()),
                enqueued_at=now,
                deadline=deadline,
                future=loop.create_future(),
            )
        )
    return works


def _check_scores(outputs: Answer, model: LoadedModel) -> None:
    """Probabilities that are not numbers are the model's fault and never leave the house."""
    step = model.spec.postprocessing
    if step is not None and not np.isfinite(outputs[step.output]).all():
        raise BackendFailed(f"model {model.name!r} version {model.version} answered NaN or infinity")
