"""What every backend of a version must pass before it serves: golden samples, raw samples, and a measured latency."""

import math

import numpy as np

from app.contract.golden import Golden, RawSample
from app.contract.labels import labels_of
from app.contract.model_spec import ImagePreprocessing, ModelSpec
from app.contract.tokenizer import Tokenizer
from app.contract.transforms import image_to_instance
from app.errors import VersionRefused
from app.repository.golden_gate import replay
from app.runtime.backend import Array, Backend
from app.runtime.warmup import Clock, LatencyCurve, measure_curve
from app.serving.accelerated import Verified, sequence_of

WARMUP_BUDGET_S = 0.1
# More golden rows than that are replayed in several batches, however large a batch may be.
REPLAY_ROWS = 256


class Gate:
    """Verifies the backends of one version.

    Args:
        golden: its samples.
        spec: its contract.
        tokenizer: for text models.
        max_batch_size: largest batch that will be asked for.
        clock: monotonic seconds.
        call_limit_s: batch sizes whose calls take longer by estimate are not tried.
    """

    def __init__(
        self,
        golden: Golden,
        spec: ModelSpec,
        tokenizer: Tokenizer | None,
        *,
        max_batch_size: int,
        clock: Clock,
        call_limit_s: float = math.inf,
    ) -> None:
        self._golden = golden
        self._spec = spec
        self._tokenizer = tokenizer
        self.max_batch_size = max_batch_size
        self._call_limit_s = call_limit_s
        self._clock = clock
        self._curves: dict[str, LatencyCurve] = {}

    def verify(self, backend: Backend, device: str) -> Verified:
        """Replay the samples on a backend, and measure it if it is the first on its device. Blocks.

        Backends on one device share one curve. Their threads refine it without a lock: of two calls that end at the
        same moment one may be forgotten.

        Args:
            backend: closed if it does not pass.
            device: that it runs on, "cpu" or "cuda:N".

        Raises:
            VersionRefused: an answer differs from Keras by more than the tolerance.
            BackendFailed: the runtime failed on a sample.
        """
        try:
            tolerance = self._golden.tolerance_for(backend.provider)
            rows = min(self.max_batch_size, REPLAY_ROWS)
            difference = replay(self._golden, backend.run, batch_size=rows, tolerance=tolerance)
            replay_raw(self._golden, backend, self._spec, self._tokenizer)
            if device not in self._curves:
                self._curves[device] = measure_curve(
                    backend,
                    self._golden.inputs,
                    max_batch_size=self.max_batch_size,
                    budget_s=WARMUP_BUDGET_S,
                    clock=self._clock,
                    sequence=sequence_of(self._spec),
                    call_limit_s=self._call_limit_s,
                )
        except BaseException:
            backend.close()
            raise
        return Verified(backend=backend, difference=difference, curve=self._curves[device])


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
        raise VersionRefused(f"golden sample {sample.name!r} is no UTF-8 text") from error
