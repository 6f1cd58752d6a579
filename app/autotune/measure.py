"""Measures settings: drives a loaded model through its real batcher with closed-loop clients, without HTTP."""

import asyncio
import random
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import cycle
from statistics import median

import numpy as np

from app.autotune.choice import Measurement, Setting
from app.batching.admission import Admission
from app.batching.work import RequestOptions
from app.contract.golden import Golden
from app.loaded import LoadedModel
from app.runtime.backend import Backend
from app.runtime.warmup import LatencyCurve
from app.serving.predictor import predict
from app.types import Array, Clock, Tensors

# Repeats per setting, in turn with the other settings, so that a slow minute of the machine affects all of them.
REPEATS = 5
# Before each repeat the setting runs without measurement for this share of the repeat.
WARMUP_SHARE = 0.25
SEED = 0
# Longer than any measurement: a timeout in serving.json would turn slow answers into refusals.
_PATIENT = RequestOptions(timeout_s=3600.0)


@dataclass(frozen=True, kw_only=True)
class Load:
    """The load on the model.

    Attributes:
        concurrency: clients; each sends one instance, and the next one after the answer.
        seconds: measured per setting, in all repeats together.
    """

    concurrency: int
    seconds: float


class Shared(Backend):
    """A backend that stays open when a batcher that uses it closes.

    Args:
        backend: closed by its owner.
    """

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    @property
    def provider(self) -> str:
        """See ``Backend``."""
        return self._backend.provider

    def run(self, inputs: Tensors) -> dict[str, Array]:
        """See ``Backend``."""
        return self._backend.run(inputs)

    def close(self) -> None:
        """Do nothing: the next batcher uses the backend."""


class BatchingBenchmark:
    """Measures settings of one model. Earlier measurements of a setting count too.

    Args:
        model: its backends run the batches; its own batcher is idle in the meantime.
        golden: the instances to send, texts at their own lengths, in a mixed order.
        load: clients and seconds.
        curve: measured up to the largest batch; every slice refines its own copy.
        clock: monotonic seconds.
    """

    def __init__(self, model: LoadedModel, golden: Golden, load: Load, *, curve: LatencyCurve, clock: Clock) -> None:
        self._model = model
        self._load = load
        self._curve = curve
        self._clock = clock
        self._random = random.Random(SEED)
        rows = [golden.row(index) for index in range(golden.rows)]
        self._random.shuffle(rows)
        self._instances = cycle(rows)
        self._slices: dict[Setting, list[Measurement]] = {}

    async def measure(self, settings: Sequence[Setting], *, on_slice: Callable[[], None]) -> list[Measurement]:
        """Measure every setting ``REPEATS`` more times, in another order each time.

        Args:
            settings: all different.
            on_slice: called after every repeat of a setting.

        Returns:
            The medians of all repeats so far, in the order of ``settings``.

        Raises:
            BackendFailed: the runtime failed on a golden sample.
        """
        order = list(settings)
        for _ in range(REPEATS):
            self._random.shuffle(order)
            for setting in order:
                model = self._with_setting(setting)
                try:
                    measured = await _slice(model, setting, self._instances, self._load, clock=self._clock)
                finally:
                    model.batcher.stop()
                    model.batcher.close()
                self._slices.setdefault(setting, []).append(measured)
                on_slice()
        return [_medians(setting, self._slices[setting]) for setting in settings]

    def _with_setting(self, setting: Setting) -> LoadedModel:
        """The model with another batcher over the same backends."""
        rules = replace(
            self._model.batcher.rules,
            max_batch_size=setting.max_batch_size,
            max_queue_delay_s=setting.max_queue_delay_us / 1e6,
            length_buckets=setting.length_buckets,
        )
        curve = LatencyCurve(self._curve.batch_sizes, self._curve.table, lengths=self._curve.lengths)
        admission = Admission(
            self._load.concurrency, sys.maxsize, rules.priority_levels, self._model.admission.instances
        )
        batcher = self._model.batcher.sibling(share=Shared, rules=rules, curve=curve, admission=admission)
        return replace(self._model, batcher=batcher, admission=admission, curve=curve)


async def _slice(
    model: LoadedModel, setting: Setting, instances: Iterator[Tensors], load: Load, *, clock: Clock
) -> Measurement:
    """One repeat: warm up, then count answers until the time is over and each client has an answer."""
    seconds = load.seconds / REPEATS
    begin = clock() + WARMUP_SHARE * seconds
    end = begin + seconds
    finished: list[tuple[float, float]] = []  # time of the answer, and seconds since its request

    async def client() -> None:
        while (asked := clock()) < end or len(finished) < load.concurrency:
            await predict(model, next(instances), _PATIENT, clock=clock)
            answered = clock()
            if answered >= begin:
                finished.append((answered, answered - asked))

    clients = [asyncio.create_task(client()) for _ in range(load.concurrency)]
    try:
        await asyncio.gather(*clients)
    finally:
        for task in clients:
            task.cancel()
        await asyncio.gather(*clients, return_exceptions=True)
    # Clients had stopped when later answers came. The first answers of a slow model count even if they come late.
    end = max(end, finished[load.concurrency - 1][0])
    latencies_ms = [1e3 * latency for answered, latency in finished if answered <= end]
    p50_ms, p99_ms = np.percentile(latencies_ms, (50, 99), method="inverted_cdf")
    return Measurement(
        setting=setting,
        instances_per_s=len(latencies_ms) / (end - begin),
        p50_ms=float(p50_ms),
        p99_ms=float(p99_ms),
    )


def _medians(setting: Setting, slices: Sequence[Measurement]) -> Measurement:
    lower, middle, upper = np.percentile([each.instances_per_s for each in slices], (25, 50, 75))
    return Measurement(
        setting=setting,
        instances_per_s=float(middle),
        p50_ms=median(each.p50_ms for each in slices),
        p99_ms=median(each.p99_ms for each in slices),
        spread=float((upper - lower) / middle),
    )
