"""One request through the data plane, top to bottom. Read this first."""

import asyncio

import numpy as np

from app.errors import BackendFailed
from app.runtime.backend import Tensors, row_count
from app.runtime.warmup import Clock
from app.serving.model import LoadedModel
from app.serving.split import Split, split
from app.serving.validation import conform
from app.serving.work import DEFAULT_OPTIONS, Answer, Prediction, RequestOptions, Work


async def predict(
    model: LoadedModel, inputs: Tensors, options: RequestOptions = DEFAULT_OPTIONS, *, clock: Clock
) -> Prediction:
    """Answer one request.

    Args:
        model: the version that answers, held by the caller until the reply is out.
        inputs: input name -> (rows, *shape) as decoded from the wire.
        options: priority and timeout.
        clock: monotonic seconds.

    Returns:
        Outputs in the order of the rows, and how long they waited and ran. Cancelling the caller
        takes work that still waits out of the queue.

    Raises:
        InvalidInput: the inputs break a rule of the signature.
        TooLarge, QueueFull, Draining: no room.
        DeadlineOutOfReach: too much waits to answer before the deadline.
        DeadlineExceeded: the request's timeout, or the model's, passed in the queue.
        BackendFailed: the runtime failed on these rows, or a probability is not a number.
    """
    tensors = conform(inputs, model.spec)
    request = split(tensors, sequence=model.sequence, rules=model.batcher.rules)
    works = _works(request, model, options, now=clock())
    model.batcher.submit(works)
    try:
        if len(works) == 1:
            answers = [await works[0].future]
        else:
            answers = await asyncio.gather(*(work.future for work in works))
    finally:
        for work in works:  # of a request that failed or whose client left, nothing more need run
            work.future.cancel()
    outputs = request.join(answers)
    _check_scores(outputs, model)
    return Prediction(
        outputs=outputs,
        rows=row_count(tensors),
        queue_s=max(work.started_at - work.enqueued_at for work in works),
        compute_s=max(work.finished_at - work.started_at for work in works),
    )


def _works(request: Split, model: LoadedModel, options: RequestOptions, *, now: float) -> list[Work]:
    """The queue entries of a request."""
    deadline = now + (model.default_timeout_s if options.timeout_s is None else options.timeout_s)
    level = model.batcher.rules.level(options.priority)
    loop = asyncio.get_running_loop()
    return [
        Work(
            inputs=part.inputs,
            rows=row_count(part.inputs),
            nbytes=sum(values.nbytes for values in part.inputs.values()),
            enqueued_at=now,
            deadline=deadline,
            future=loop.create_future(),
            level=level,
            length=part.length,
            shape_key=model.shape_key(part.inputs),
        )
        for part in request.parts
    ]


def _check_scores(outputs: Answer, model: LoadedModel) -> None:
    """Probabilities that are not numbers are the model's fault and never leave the house."""
    step = model.spec.postprocessing
    if step is not None and not np.isfinite(outputs[step.output]).all():
        raise BackendFailed(f"model {model.name!r} version {model.version} answered NaN or infinity")
