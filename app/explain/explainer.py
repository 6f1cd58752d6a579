"""Explains answers: asks the model again and again with parts of an instance hidden, when no prediction waits."""

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal
from weakref import WeakValueDictionary

import numpy as np

from app.batching.work import RequestOptions
from app.errors import Draining, InvalidInput, ModelNotReady, QueueFull, TooLarge, quoted
from app.explain.batches import Batches, Terms
from app.explain.methods import Attribution, Flip, occlusion, shapley, smallest_flip
from app.explain.of_model import answer_of, parts_of
from app.explain.parts import AllParts, Floats, Hidden
from app.loaded import LoadedModel, unloaded
from app.serving.validation import conform
from app.types import Clock, Tensors

Method = Literal["occlusion", "shapley", "gradients"]
METHODS: tuple[Method, ...] = ("occlusion", "shapley", "gradients")
DEFAULT_SAMPLES = 8
MOST_SAMPLES = 1000
MOST_INSTANCES = 16
MOST_EVALUATIONS = 20_000
"""Most instances that a request makes the model answer."""
MOST_AT_ONCE = 32
"""Most requests that are explained, or wait for it, in a process."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """How a request wants its answers explained.

    Attributes:
        method: how the parts are scored.
        target: the class whose score is explained, by index or label; None: the best one of each instance.
        samples: orders that ``shapley`` samples, even.
        seed: of its random numbers.
        grid: regions of an image along its longer side; None: the default.
    """

    method: Method = "occlusion"
    target: int | str | None = None
    samples: int = DEFAULT_SAMPLES
    seed: int = 0
    grid: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """Why one instance is answered as it is.

    Attributes:
        parts: of the instance.
        target: the class that is explained; 0 of a model with one number for each instance.
        value: its score, or the number.
        baseline: the same when every part is hidden.
        attribution: the score of each part.
        flip: what changes the answer; None if nothing does, or if ``target`` is not the answer.
    """

    parts: AllParts
    target: int
    value: float
    baseline: float
    attribution: Attribution
    flip: Flip | None


class Explainer:
    """Explains requests of a process. All of them take turns, so that at most one of their batches runs.

    A batch of an explanation starts only when no prediction of the model waits or runs, and is cut so that the measured
    latency of the model says at most ``batch_s``: a prediction is delayed by one such batch at most.

    Args:
        batch_s: most seconds of one batch; a single instance may take longer.
        clock: monotonic seconds.
        is_loaded: whether a version still serves; explanations of one that is unloaded end.
        is_ending: whether the process shuts down; all explanations end.
    """

    def __init__(
        self,
        *,
        batch_s: float,
        clock: Clock,
        is_loaded: Callable[[LoadedModel], bool] = lambda _: True,
        is_ending: Callable[[], bool] = lambda: False,
    ) -> None:
        self._batch_s = batch_s
        self._clock = clock
        self._is_loaded, self._is_ending = is_loaded, is_ending
        self._turn = asyncio.Lock()
        # Of each model, while somebody waits: its requests are explained one after the other, so that the first ones
        # end, where all of them together would pass their timeouts.
        self._of_models: WeakValueDictionary[tuple[str, int, str], asyncio.Lock] = WeakValueDictionary()
        self._count = 0

    async def explain(
        self,
        model: LoadedModel,
        inputs: Tensors,
        asked: Asked,
        *,
        began: float,
        options: RequestOptions,
        words: Mapping[str, Sequence[Sequence[str]]],
    ) -> list[Explanation]:
        """Explain the answer to each instance.

        Args:
            model: the version that answers; the caller keeps its lease.
            inputs: input name -> (rows, *shape) as decoded from the wire.
            asked: how.
            began: arrival of the first byte of the request, monotonic seconds.
            options: its timeout; the priority is always the lowest.
            words: of the inputs that were sent as texts, the tokens of each instance as the client wrote them.

        Raises:
            InvalidInput: the model cannot be explained, or an option breaks a rule.
            TooLarge: too many instances or evaluations.
            QueueFull: too many explanations are in progress.
            DeadlineExceeded: the timeout of the request, or of the model, passed.
            Draining, ModelNotReady: the service shuts down, or the version is unloaded.
            ServingError: see ``predict``.
        """
        tensors = conform(inputs, model.spec)
        rows = len(next(iter(tensors.values())))
        if rows > MOST_INSTANCES:
            raise TooLarge(f"the request holds {rows} instances; :explain takes at most {MOST_INSTANCES} at a time")
        output = answer_of(model)
        each = [parts_of(model, tensors, row, grid=asked.grid, words=words) for row in range(rows)]
        passes = asked.samples if asked.method == "shapley" else 1
        if (count := sum((passes + 1) * parts.count + 2 for parts in each)) > MOST_EVALUATIONS:
            raise TooLarge(
                f"{rows} instances with {each[0].count} parts and {passes} samples take {count} evaluations; at most "
                f"{MOST_EVALUATIONS} are made for a request"
            )
        run = Batches(
            Terms(
                turn=self._turn,
                deadline=began + model.timeout_s(options),
                timeout_s=model.timeout_s(options),
                batch_s=self._batch_s,
                planned=count,
                clock=self._clock,
                check=partial(self._check, model),
            ),
            model,
            output,
        )
        key = (model.name, model.version, model.signature)
        mine = self._of_models.setdefault(key, asyncio.Lock())
        with self._counted():
            async with run.within_timeout():
                await mine.acquire()
            try:
                return [await self._explain(run, model, parts, asked) for parts in each]
            finally:
                mine.release()

    def _check(self, model: LoadedModel) -> None:
        """Raise if nobody should wait any longer: unloading and the shutdown wait for requests in progress."""
        if self._is_ending():
            raise Draining("the service shut down before this request was answered")
        if not self._is_loaded(model):
            raise ModelNotReady(unloaded(model.name, model.version))

    async def _explain(self, run: Batches, model: LoadedModel, parts: AllParts, asked: Asked) -> Explanation:
        async def evaluate(hidden: Hidden) -> Floats:
            return await run.scores(parts, hidden, target)

        (whole,) = await run.outputs(parts, np.zeros((1, parts.count), bool))
        best = int(whole.argmax())
        target = best if asked.target is None else class_of(asked.target, model)
        value = float(whole[target])
        baseline = float((await evaluate(np.ones((1, parts.count), bool)))[0, 0])
        if asked.method == "shapley":
            options: dict[str, Any] = {"samples": asked.samples, "seed": asked.seed}
            attribution = await shapley(evaluate, parts.count, value, baseline, **options)
        elif asked.method == "gradients":
            attribution = await run.gradients(parts, target)
        else:
            attribution = await occlusion(evaluate, parts.count, value)
        flips = target == best and len(whole) > 1
        flip = await smallest_flip(evaluate, attribution.scores, best) if flips else None
        return Explanation(
            parts=parts, target=target, value=value, baseline=baseline, attribution=attribution, flip=flip
        )

    @contextmanager
    def _counted(self) -> Iterator[None]:
        if self._count >= MOST_AT_ONCE:
            raise QueueFull(f"{self._count} requests are being explained, the most at a time; try again")
        self._count += 1
        try:
            yield
        finally:
            self._count -= 1


def class_of(target: int | str, model: LoadedModel) -> int:
    """The index of a class that a request names.

    Raises:
        InvalidInput: the model has no such class.
    """
    labels = model.classes
    if isinstance(target, str):
        if target in labels:
            return labels.index(target)
        if target.isascii() and target.isdecimal() and len(target) <= len(str(len(labels))):
            return class_of(int(target), model)
        known = f"has the labels {', '.join(labels[:20])}" if labels else "has no labels: it answers with a number"
        raise InvalidInput(f"'class' is {quoted(target)}; model {model.name!r} {known}")
    if not 0 <= target < max(1, len(labels)):
        raise InvalidInput(f"'class' is {target}; model {model.name!r} has classes 0 to {max(1, len(labels)) - 1}")
    return target
