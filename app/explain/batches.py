"""The batches of an explanation: cut by the measured latency, and queued when the model rests."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import numpy as np

from app.batching.work import Prediction, RequestOptions
from app.errors import BackendFailed, DeadlineExceeded, InvalidInput, TooLarge
from app.explain.methods import Attribution
from app.explain.parts import AllParts, Floats, Hidden
from app.loaded import LoadedModel
from app.serving.predictor import predict
from app.types import Clock, Tensors

MOST_VARIANT_BYTES = 2**28
"""Most bytes of an instance with each of its parts hidden in turn."""
MOST_BATCH_BYTES = 2**20
"""Most bytes of the inputs, and of the answers, of one batch: what is done with them on the event loop takes well below
a millisecond. A single instance may have more."""
INLINE_BYTES = 2**16
"""Inputs with more bytes are made in a thread."""


@dataclass(frozen=True, kw_only=True)
class Terms:
    """What the batches of one request share.

    Attributes:
        turn: held while a batch of an explanation runs, of any model.
        deadline, timeout_s: of the request, monotonic seconds and seconds.
        batch_s: see ``Explainer``.
        planned: most instances that the model will answer.
        clock: monotonic seconds.
        check: raises if the explanation must end.
    """

    turn: asyncio.Lock
    deadline: float
    timeout_s: float
    batch_s: float
    planned: int
    clock: Clock
    check: Callable[[], None]


class Batches:
    """The batches of one request, each when its model rests.

    Args:
        terms: of the request.
        model: that answers.
        output: the name of its scores.
    """

    def __init__(self, terms: Terms, model: LoadedModel, output: str) -> None:
        self._terms, self._model, self._output = terms, model, output
        self._made = 0

    async def scores(self, parts: AllParts, hidden: Hidden, target: int) -> Floats:
        """Of an instance with parts hidden: see ``Evaluate``."""
        found: list[Floats] = []
        start = 0
        while start < len(hidden):
            size = rows_within(self._model, parts.length, self._terms.batch_s)
            values = await self.outputs(parts, hidden[start : start + size])
            best = values.argmax(axis=1)
            found.append(np.stack([values[:, target], best, values[np.arange(len(values)), best]], axis=1))
            start += size
        return np.concatenate(found)

    async def outputs(self, parts: AllParts, hidden: Hidden) -> Floats:
        """The scores of all classes, in one batch: float64 (rows, classes)."""
        self._terms.check()
        nbytes = len(hidden) * instance_bytes(self._model, parts.length)
        inputs = parts.rows(hidden) if nbytes <= INLINE_BYTES else await asyncio.to_thread(parts.rows, hidden)
        try:
            async with self.within_timeout():
                prediction = await self._in_turn(inputs)
        except BackendFailed as error:
            if not hidden.any():
                raise
            raise InvalidInput(
                f"model {self._model.name!r} fails where parts are hidden ({parts.replaced_by}): {error.message}"
            ) from error
        self._made += len(hidden)
        values = prediction.outputs[self._output]
        if not np.isfinite(values).all():
            raise InvalidInput(
                f"model {self._model.name!r} answers this instance, or a form of it with parts hidden, with infinity "
                "or NaN, of which no part can have a share"
            )
        return values.reshape(len(values), -1).astype(np.float64)

    async def gradients(self, parts: AllParts, target: int) -> Attribution:
        """The scores of the parts by integrated gradients, beside predictions: they run in a process of their own.

        Raises:
            InvalidInput: see ``Backend.part_gradients``.
            TooLarge: the instance is too large for its many variants.
            DeadlineExceeded: see ``Explainer.explain``.
        """
        backend = self._model.instances.all[0].backend
        nbytes = (parts.count + 2) * instance_bytes(self._model, parts.length)
        if nbytes > MOST_VARIANT_BYTES:
            raise TooLarge(
                f"an instance with {parts.count} parts takes {nbytes} bytes in its variants; the method 'gradients' "
                f"takes at most {MOST_VARIANT_BYTES}"
            )
        none, each = np.zeros((1, parts.count), bool), np.eye(parts.count, dtype=bool)
        variants = parts.rows(np.concatenate([none, ~none, each]))
        self._terms.check()
        async with self.within_timeout(), self._terms.turn:
            found = await asyncio.to_thread(backend.part_gradients, variants, output=self._output, target=target)
        scores = found["scores"]
        return Attribution(scores, missing=float(found["difference"] - scores.sum()))

    @asynccontextmanager
    async def within_timeout(self) -> AsyncIterator[None]:
        """Raises DeadlineExceeded where the deadline of the request passes meanwhile."""
        terms = self._terms
        try:
            async with asyncio.timeout(terms.deadline - terms.clock()):
                yield
        except TimeoutError:
            raise DeadlineExceeded(
                f"{self._made} of at most {terms.planned} evaluations were made within the timeout of "
                f"{terms.timeout_s * 1e3:g} ms; they wait for predictions and for explanations that came before: ask "
                "for fewer samples or a smaller grid, or try again"
            ) from None

    async def _in_turn(self, inputs: Tensors) -> Prediction:
        """One batch, when the model rests; who waits for that does not hold up the explanations of other models."""
        batcher, terms = self._model.batcher, self._terms
        while True:
            await batcher.rested()
            async with terms.turn:
                terms.check()
                if batcher.is_idle:
                    timeout_s = terms.deadline - terms.clock()
                    options = RequestOptions(batcher.rules.priority_levels, timeout_s, is_probe=True)
                    return await predict(self._model, inputs, options, clock=terms.clock)


def rows_within(model: LoadedModel, length: int, seconds: float) -> int:
    """How many instances the measured latency of a model allows in a batch of this many seconds; at least 1.

    Args:
        model: of the batch.
        length: tokens of each instance; 0 if all have the same shape.
        seconds: of the batch.
    """
    nbytes = max(1, instance_bytes(model, length), model.answer_bytes)
    rows = min(model.batcher.rules.max_batch_size, max(1, MOST_BATCH_BYTES // nbytes))
    while rows > 1 and model.curve.estimate(rows, length) > seconds:
        rows = max(1, min(rows - 1, int(rows * seconds / model.curve.estimate(rows, length))))
    return rows


def instance_bytes(model: LoadedModel, length: int) -> int:
    """Bytes of all inputs of an instance with this many tokens."""
    fixed = sum(tensor.instance_bytes for tensor in model.spec.inputs if not tensor.is_variable)
    return int(fixed + length * np.dtype(np.int32).itemsize)
