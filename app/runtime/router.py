"""Sends each batch to the GPU or to the CPU, whichever is measured to answer it sooner."""

from collections.abc import Sequence

from app.runtime.backend import Backend, row_count
from app.runtime.failover import Condition
from app.runtime.warmup import LatencyCurve
from app.types import Array, Clock, Tensors

# A batch goes to the slower device this often, if it is at most this many times slower: this keeps its figures fresh.
EXPLORE_EVERY = 64
EXPLORE_WITHIN = 2.0


class Router:
    """Chooses by two latency curves; every batch refines the one of the device that ran it.

    Args:
        gpu, cpu: seconds by batch size and length, of the same sizes and lengths.
    """

    def __init__(self, gpu: LatencyCurve, cpu: LatencyCurve) -> None:
        self._gpu = gpu
        self._cpu = cpu
        self._chosen = 0

    def chooses_gpu(self, rows: int, length: int = 0) -> bool:
        """The device for a batch of ``rows`` rows of ``length``."""
        gpu_s, cpu_s = self._gpu.estimate(rows, length), self._cpu.estimate(rows, length)
        gpu_is_faster = gpu_s < cpu_s
        self._chosen += 1
        if self._chosen % EXPLORE_EVERY == 0 and max(gpu_s, cpu_s) <= EXPLORE_WITHIN * min(gpu_s, cpu_s):
            return not gpu_is_faster
        return gpu_is_faster

    def ran(self, rows: int, seconds: float, length: int = 0, *, on_gpu: bool) -> None:
        """Record that a batch took ``seconds``."""
        (self._gpu if on_gpu else self._cpu).observe(rows, seconds, length)


def crossover(gpu: LatencyCurve, cpu: LatencyCurve) -> int | None:
    """The smallest measured batch size at which the GPU is faster, at any length; None if it is never faster."""
    for column, size in enumerate(gpu.batch_sizes):
        if any(fast[column] < slow[column] for fast, slow in zip(gpu.table, cpu.table, strict=True)):
            return size
    return None


def faster_of(gpu: LatencyCurve, cpu: LatencyCurve) -> LatencyCurve:
    """The curve of both devices together: for each size and length the smaller figure."""
    table = [tuple(map(min, *pair)) for pair in zip(gpu.table, cpu.table, strict=True)]
    return LatencyCurve(gpu.batch_sizes, table, lengths=gpu.lengths)


def slowest(curves: Sequence[LatencyCurve]) -> LatencyCurve:
    """The curve of instances that take batches in turn: for each size and length the largest figure.

    Args:
        curves: at least one, of the same sizes and lengths; if all are one curve, it is returned unchanged.
    """
    first = curves[0]
    if all(curve is first for curve in curves):
        return first
    table = [tuple(map(max, *rows)) for rows in zip(*(curve.table for curve in curves), strict=True)]
    return LatencyCurve(first.batch_sizes, table, lengths=first.lengths)


class RoutedBackend(Backend):
    """A version on both devices.

    Args:
        gpu, cpu: closed with this one.
        router: chooses the device.
        condition: of the GPU; while it is degraded, its batch times are not recorded.
        clock: monotonic seconds.
        sequence: the input (rows, length) whose length varies; None without one.
    """

    def __init__(
        self,
        gpu: Backend,
        cpu: Backend,
        router: Router,
        *,
        condition: Condition,
        clock: Clock,
        sequence: str | None = None,
    ) -> None:
        self._gpu = gpu
        self._cpu = cpu
        self._router = router
        self._condition = condition
        self._clock = clock
        self._sequence = sequence

    @property
    def provider(self) -> str:
        """Execution provider of the GPU."""
        return self._gpu.provider

    def run(self, inputs: Tensors) -> dict[str, Array]:
        """Run one batch; see ``Backend.run``."""
        rows = row_count(inputs)
        length = 0 if self._sequence is None else inputs[self._sequence].shape[1]
        on_gpu = self._router.chooses_gpu(rows, length)
        began = self._clock()
        outputs = (self._gpu if on_gpu else self._cpu).run(inputs)
        if not (on_gpu and self._condition.degraded):
            self._router.ran(rows, self._clock() - began, length, on_gpu=on_gpu)
        return outputs

    def close(self) -> None:
        """Close both."""
        self._gpu.close()
        self._cpu.close()
