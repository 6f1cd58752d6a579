"""Runs one batch: stacks the works, calls the backend, splits the answer, and bisects a batch that fails."""

import math
from bisect import bisect_left
from collections.abc import Sequence
from functools import partial

import numpy as np

from app.batching.rules import BatchRules
from app.batching.work import Answer, Batch, BatchTimes, Work
from app.contract.tokenizer import PADDING_ID
from app.errors import BackendDown, BackendFailed, BackendHung, ServingError
from app.runtime.backend import Backend, row_count, take_rows
from app.types import Array, Clock, Tensors

Outcome = Answer | ServingError


def run_batch(
    backend: Backend,
    batch: Batch,
    rules: BatchRules,
    clock: Clock,
    finite_output: str | None,
) -> tuple[list[Outcome], BatchTimes]:
    """One outcome per work of a batch, and its times; see ``run_works``. Blocks."""
    times = BatchTimes()
    started_at = clock()
    outcomes = run_works(
        backend,
        batch.works,
        times,
        clock=clock,
        allowed_batch_sizes=rules.allowed_batch_sizes,
        finite_output=finite_output,
    )
    finished_at = clock()
    for work in batch.works:
        work.started_at, work.finished_at = started_at, finished_at
    return outcomes, times


def settle(work: Work, outcome: Outcome) -> None:
    """Set the answer of a waiting client, unless the client has left."""
    if work.future.done():
        return
    if isinstance(outcome, ServingError):
        work.future.set_exception(outcome)
    else:
        work.future.set_result(outcome)


def run_works(
    backend: Backend,
    works: Sequence[Work],
    times: BatchTimes,
    *,
    clock: Clock,
    allowed_batch_sizes: Sequence[int] = (),
    finite_output: str | None = None,
) -> list[Outcome]:
    """Run works as one batch; bisect it if it fails, so that one bad row does not fail the other rows.

    A batch that the backend did not answer in time is not bisected: its clients have waited long enough. Neither is one
    whose process is down.

    Args:
        backend: blocks.
        works: at least one.
        times: the times of the batch are added to it.
        clock: monotonic seconds.
        allowed_batch_sizes: see ``BatchRules``.
        finite_output: output that must not contain NaN or infinity; None allows them.

    Returns:
        For each work its outputs, or the error of running it alone, or BackendHung, or BackendDown.
    """
    begin = clock()
    try:
        inputs = stack([work.inputs for work in works])
        if allowed_batch_sizes and not works[0].as_sent:
            inputs = _pad_rows(inputs, allowed_batch_sizes)
        stacked = clock()
        outputs = backend.run(inputs)
    except Exception as error:  # noqa: BLE001 - the boundary of a batch: any error becomes its answer
        times.infer_s += clock() - begin
        if len(works) > 1 and not isinstance(error, BackendHung | BackendDown):
            run = partial(
                run_works,
                backend,
                times=times,
                clock=clock,
                allowed_batch_sizes=allowed_batch_sizes,
                finite_output=finite_output,
            )
            middle = len(works) // 2
            return run(works[:middle]) + run(works[middle:])
        failure = error if isinstance(error, ServingError) else BackendFailed(f"the backend failed: {error}")
        return [failure] * len(works)
    ran = clock()
    answers = _take_apart(outputs, works)
    if finite_output is not None and not _is_finite(outputs[finite_output]):
        answers = [_finite(answer, finite_output) for answer in answers]
    times.input_s += stacked - begin
    times.infer_s += ran - stacked
    times.output_s += clock() - ran
    return answers


def _take_apart(outputs: Answer, works: Sequence[Work]) -> list[Outcome]:
    """The rows of each work."""
    if len(works) == 1 and row_count(outputs) == works[0].rows:
        return [outputs]
    answers: list[Outcome] = []
    start = 0
    if len(outputs) == 1:
        ((name, values),) = outputs.items()
        for work in works:
            answers.append({name: values[start : start + work.rows]})
            start += work.rows
        return answers
    for work in works:
        answers.append(take_rows(outputs, start, start + work.rows))
        start += work.rows
    return answers


def _is_finite(values: Array) -> bool:
    """Whether no number is NaN or infinity. One that is makes the sum of squares so, which is cheaper to look at."""
    if values.dtype == np.float32 and math.isfinite(np.vdot(values, values)):
        return True
    return bool(np.isfinite(values).all())


def _finite(answer: Outcome, name: str) -> Outcome:
    if isinstance(answer, dict) and not _is_finite(answer[name]):
        return BackendFailed(f"output {name!r} holds NaN or infinity")
    return answer


def padding_ratio(works: Sequence[Work], *, allowed_batch_sizes: Sequence[int] = ()) -> float:
    """Share of a batch's elements that are padding, after shorter rows or as further rows; 0 to 1."""
    if works[0].as_sent or (not allowed_batch_sizes and (len(works) == 1 or not any(work.length for work in works))):
        return 0.0
    rows = _allowed(sum(work.rows for work in works), allowed_batch_sizes)
    given = whole = 0
    for name in works[0].inputs:
        arrays = [work.inputs[name] for work in works]
        width = max(array[0].size for array in arrays)
        given += sum(array.size for array in arrays)
        whole += width * rows
    return 1 - given / whole if whole else 0.0


def stack(parts: Sequence[Tensors]) -> Tensors:
    """All rows in one batch; rows of variable length are padded after their end with id 0."""
    if len(parts) == 1:
        return parts[0]
    return {name: _concatenate([part[name] for part in parts]) for name in parts[0]}


def _concatenate(arrays: list[Array]) -> Array:
    shapes = {array.shape[1:] for array in arrays}
    if len(shapes) == 1:
        return np.concatenate(arrays)
    width = max(array.shape[1] for array in arrays)
    batch = np.full((sum(map(len, arrays)), width), PADDING_ID, dtype=arrays[0].dtype)
    start = 0
    for array in arrays:
        batch[start : start + len(array), : array.shape[1]] = array
        start += len(array)
    return batch


def _pad_rows(inputs: Tensors, allowed: Sequence[int]) -> Tensors:
    """Repeat the last row up to the next allowed size."""
    rows = row_count(inputs)
    missing = _allowed(rows, allowed) - rows
    if not missing:
        return inputs
    return {name: np.concatenate([values, np.repeat(values[-1:], missing, axis=0)]) for name, values in inputs.items()}


def _allowed(rows: int, allowed: Sequence[int]) -> int:
    index = bisect_left(allowed, rows)
    return allowed[index] if index < len(allowed) else rows
