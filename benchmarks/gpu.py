"""Published models on a GPU: difference from Keras, cost of batches, and the gain from IO binding."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import perf_counter

import numpy as np

from app.contract.device import CPU
from app.contract.golden import Golden
from app.contract.model_spec import ONNX_FILE, ModelSpec
from app.errors import VersionRefused
from app.lifecycle.loading.golden_gate import replay
from app.repository.places import Places
from app.repository.scan import scan
from app.runtime.backend import Backend
from app.runtime.cuda import PinnedMemory, provider_options
from app.runtime.engines.io_binding import BoundBackend, OrdinaryMemory
from app.runtime.engines.onnx import OnnxBackend
from app.runtime.warmup import LatencyCurve, batch_sizes_up_to, measure_curve
from app.types import Array, Tensors

# Ways of a batch to the session: ONNX Runtime alone, our backend around it, and our backend with bound buffers.
WAYS = ("bare", "unbound", "bound")


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """One model on the CPU and on the device.

    Attributes:
        model: name and version.
        mismatch: how the device's answers differ from Keras; empty if they are within the tolerance.
        difference: the largest one, with and without bound buffers.
        tolerance: of the golden samples for the device's provider.
        batch_sizes: of the two curves.
        cpu_ms, device_ms: time of a call, at the greatest length; with one thread, and with bound buffers.
        rows_per_s: throughput of the largest batch, by WAYS; medians.
    """

    model: str
    mismatch: str
    difference: float
    tolerance: float
    batch_sizes: tuple[int, ...]
    cpu_ms: tuple[float, ...]
    device_ms: tuple[float, ...]
    rows_per_s: dict[str, float]

    def share(self, way: str) -> float:
        """Throughput as a fraction of that of ONNX Runtime alone."""
        return self.rows_per_s[way] / self.rows_per_s["bare"]


@dataclass(frozen=True, kw_only=True)
class Failure:
    """A model that could not be measured.

    Attributes:
        model: name and version.
        error: why, in one sentence.
    """

    model: str
    error: str


class Bare:
    """ONNX Runtime's own ``run`` as a backend, unchecked."""

    def __init__(self, backend: OnnxBackend, spec: ModelSpec) -> None:
        self._session = backend.session
        self._outputs = [tensor.name for tensor in spec.outputs]
        self.provider = backend.provider

    def run(self, inputs: Tensors) -> dict[str, Array]:
        """See ``Backend``."""
        return dict(zip(self._outputs, self._session.run(self._outputs, inputs), strict=True))

    def close(self) -> None:
        """Do nothing: the session belongs to another backend."""


def compare_each(
    models: Path, device: str, *, max_batch_size: int, seconds: float, repeats: int
) -> Iterator[Comparison | Failure]:
    """Measure the newest version of every published model. A model that cannot be measured does not stop the others.

    Args:
        models: models directory.
        device: "cuda:N", or "cpu" for the same on the CPU.
        max_batch_size: largest batch.
        seconds: of each measurement.
        repeats: of each way, in turn with the others.

    Raises:
        VersionRefused: there is no model.
    """
    found = scan(Places(models))
    if not found:
        raise VersionRefused(f"no published model in {models}")
    for name, versions in sorted(found.items()):
        directory = models / name / str(versions[0])
        try:
            yield _compare(directory, device, max_batch_size=max_batch_size, seconds=seconds, repeats=repeats)
        except Exception as error:  # noqa: BLE001 - the bare session may raise anything, and other models follow
            yield Failure(model=f"{name} {versions[0]}", error=str(error))


def _compare(directory: Path, device: str, *, max_batch_size: int, seconds: float, repeats: int) -> Comparison:
    spec, golden, path = ModelSpec.read(directory), Golden.read(directory), directory / ONNX_FILE
    sizes = batch_sizes_up_to(max_batch_size)
    cpu = OnnxBackend(path, spec, threads=1)
    try:
        cpu_curve = _curve(cpu, golden, spec, max_batch_size, seconds)
    finally:
        cpu.close()
    plain = OnnxBackend(path, spec, threads=1, cuda=None if device == CPU else provider_options(device, None))
    try:
        bound = BoundBackend(plain, spec, sizes, OrdinaryMemory() if device == CPU else PinnedMemory(device))
    except BaseException:
        plain.close()
        raise
    try:
        difference, mismatch = _verify(golden, (plain, bound), max_batch_size)
        curve = _curve(bound, golden, spec, max_batch_size, seconds)
        ways: dict[str, Backend] = {"bare": Bare(plain, spec), "unbound": plain, "bound": bound}
        rates = _rates(ways, _batch(golden, max_batch_size), seconds=seconds, repeats=repeats)
    finally:
        bound.close()
    return Comparison(
        model=f"{spec.name} {directory.name}",
        mismatch=mismatch,
        difference=difference,
        tolerance=golden.tolerance_for("CPUExecutionProvider" if device == CPU else "CUDAExecutionProvider"),
        batch_sizes=sizes,
        cpu_ms=tuple(1e3 * each for each in cpu_curve.seconds),
        device_ms=tuple(1e3 * each for each in curve.seconds),
        rows_per_s=rates,
    )


def _verify(golden: Golden, backends: tuple[Backend, ...], batch_size: int) -> tuple[float, str]:
    """The largest difference from Keras, alone and in batches, and a sentence if it exceeds the tolerance."""
    worst, mismatch = 0.0, ""
    for backend in backends:
        for size in (1, batch_size):
            try:
                worst = max(worst, replay(golden, backend.run, batch_size=size, provider=backend.provider))
            except VersionRefused as error:
                mismatch = mismatch or f"batches of {size}: {error.message}"
    return worst, mismatch


def _curve(backend: Backend, golden: Golden, spec: ModelSpec, largest: int, seconds: float) -> LatencyCurve:
    return measure_curve(
        backend,
        golden.inputs,
        max_batch_size=largest,
        budget_s=seconds * len(batch_sizes_up_to(largest)),
        clock=perf_counter,
        sequence=spec.sequence,
    )


def _batch(golden: Golden, rows: int) -> dict[str, Array]:
    """``rows`` golden rows, repeated from the first one after the last."""
    indices = np.arange(rows) % golden.rows
    return {name: np.ascontiguousarray(values[indices]) for name, values in golden.inputs.items()}


def _rates(ways: dict[str, Backend], batch: Tensors, *, seconds: float, repeats: int) -> dict[str, float]:
    """Rows per second of each way, in turn, so that a slow moment of the machine affects all of them."""
    rows = len(next(iter(batch.values())))
    seen: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(repeats):
        for name, backend in ways.items():
            backend.run(batch)
            calls, began = 0, perf_counter()
            while perf_counter() - began < seconds / repeats or not calls:
                backend.run(batch)
                calls += 1
            seen[name].append(rows * calls / (perf_counter() - began))
    return {name: median(rates) for name, rates in seen.items()}
