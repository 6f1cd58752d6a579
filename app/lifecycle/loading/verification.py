"""Checks of every backend of a version before it serves: golden samples, raw samples, and a measured latency."""

from collections.abc import Callable

import numpy as np

from app.contract.device import CPU
from app.contract.golden import Golden, RawSample
from app.contract.labels import labels_of
from app.contract.model_spec import ModelSpec
from app.contract.steps import ImagePreprocessing
from app.contract.tokenizer import Tokenizer
from app.contract.transforms import image_to_instance
from app.errors import VersionRefused
from app.lifecycle.loading.device_choice import Verified
from app.lifecycle.loading.golden_gate import replay
from app.lifecycle.loading.version_contract import VersionContract
from app.runtime.backend import Backend, take_rows
from app.runtime.memory import resident_bytes
from app.runtime.warmup import LatencyCurve, measure_curve
from app.types import Array, Clock, Tensors

WARMUP_BUDGET_S = 0.03
# More golden rows than this are replayed in several batches, even if a batch may be larger.
REPLAY_ROWS = 256
# Batches grow at warm-up until one would make the process larger than before by more.
GROWTH_LIMIT_BYTES = 2**30
# A size that model.json hints at is not tried if a call would take longer.
HINTED_CALL_LIMIT_S = 2.0
# First estimate for a version without a known valid input; its requests refine it.
UNKNOWN_CALL_S = 0.01


class Gate:
    """Verifies the backends of one version.

    Args:
        contract: with its golden samples.
        max_batch_size: largest batch that will run.
        is_stated: whether serving.json states that size. One that model.json hints at is not insisted on.
        clock: monotonic seconds.
        resident: bytes of memory of this process.
    """

    def __init__(
        self,
        contract: VersionContract,
        *,
        max_batch_size: int,
        is_stated: bool,
        clock: Clock,
        resident: Callable[[], int] = resident_bytes,
    ) -> None:
        self._contract = contract
        self._spec = contract.spec
        self._tokenizer = contract.tokenizer
        self.max_batch_size = max_batch_size
        self._is_stated = is_stated
        self._clock = clock
        self._resident = resident
        self._curves: dict[str, LatencyCurve] = {}

    def verify(self, backend: Backend, device: str) -> Verified:
        """Replay the samples on a backend, and measure it if it is the first on its device. Blocks.

        Backends on one device share one curve. Their threads refine it without a lock: of two calls that end at the
        same moment one may be forgotten.

        Args:
            backend: closed if it does not pass.
            device: that it runs on, "cpu" or "cuda:N".

        Raises:
            VersionRefused: an answer differs from Keras by more than the tolerance, or a batch of the size that
                serving.json states would take too much memory.
            BackendFailed: the runtime failed on a sample.
        """
        try:
            at_rest = self._resident()
            if self._contract.samples is not None:  # see ``Backend.free_spare``
                backend.run(take_rows(self._contract.samples, 0, 1))
            golden, difference, rows, replay_s = self._contract.golden, None, 1, 0.0
            if golden is not None:
                rows = min(self.max_batch_size, REPLAY_ROWS, golden.rows)
                run, than = _Timed(backend.run, self._clock), self._contract.than
                difference = replay(golden, run, batch_size=rows, provider=backend.provider, than=than)
                replay_s = run.most_s
                replay_raw(golden, backend, self._spec, self._tokenizer)
            if device not in self._curves:
                # The first calls on a GPU prepare it: how long they took says nothing of later ones.
                ran = (rows, replay_s) if device == CPU else (0, 0.0)
                self._curves[device] = self._measure(backend, at_rest, rows, ran)
        except BaseException:
            backend.close()
            raise
        return Verified(backend=backend, difference=difference, curve=self._curves[device])

    def _measure(self, backend: Backend, at_rest: int, replayed: int, ran: tuple[int, float]) -> LatencyCurve:
        largest, samples = replayed, self._contract.samples
        if samples is None:
            return LatencyCurve((1,), ((UNKNOWN_CALL_S,),))

        def may_try(before: int, size: int, estimate_s: float) -> bool:
            nonlocal largest
            largest = max(largest, before)
            if size > largest:
                grown = (self._resident() - at_rest) * size / largest
                if grown > GROWTH_LIMIT_BYTES:
                    self._refuse_stated(largest, grown)
                    return False
            return self._is_stated or estimate_s <= HINTED_CALL_LIMIT_S

        return measure_curve(
            backend,
            samples,
            max_batch_size=self.max_batch_size,
            budget_s=WARMUP_BUDGET_S,
            clock=self._clock,
            sequence=self._spec.sequence,
            may_try=may_try,
            ran=ran,
        )

    def _refuse_stated(self, possible: int, grown: float) -> None:
        if self._is_stated:
            raise VersionRefused(
                f"batching.max_batch_size is {self.max_batch_size}: by what batches of {possible} took, larger ones "
                f"take {grown / 2**20:.0f} MiB of memory, and {GROWTH_LIMIT_BYTES // 2**20} MiB is the limit; "
                f"state {possible} or less"
            )


class _Timed:
    """A backend's ``run`` that remembers the longest call."""

    def __init__(self, run: Callable[[Tensors], Tensors], clock: Clock) -> None:
        self._run, self._clock = run, clock
        self.most_s = 0.0

    def __call__(self, inputs: Tensors) -> Tensors:
        began = self._clock()
        outputs = self._run(inputs)
        self.most_s = max(self.most_s, self._clock() - began)
        return outputs


def replay_raw(golden: Golden, backend: Backend, spec: ModelSpec, tokenizer: Tokenizer | None) -> None:
    """Send the golden raw samples through decoding and the backend and compare the first label.

    Raises:
        VersionRefused: names the sample, its label and the one it got.
    """
    if not golden.raw or spec.preprocessing is None or spec.postprocessing is None:
        return
    for sample in golden.raw:
        outputs = backend.run({spec.preprocessing.input: _instance(sample, spec, tokenizer)[np.newaxis]})
        label = labels_of(spec, tokenizer)[int(outputs[spec.postprocessing.output][0].argmax())]
        if label != sample.label:
            raise VersionRefused(f"golden sample {sample.name}: answered {label!r}, Keras answered {sample.label!r}")


def _instance(sample: RawSample, spec: ModelSpec, tokenizer: Tokenizer | None) -> Array:
    step = spec.preprocessing
    if isinstance(step, ImagePreprocessing):
        return image_to_instance(sample.data, preprocessing=step, target=spec.input(step.input))
    if tokenizer is None:
        raise VersionRefused(f"golden sample {sample.name}: model.json states no pre-processing for it")
    try:
        return tokenizer.encode(sample.data.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise VersionRefused(f"golden sample {sample.name!r} is not UTF-8") from error
