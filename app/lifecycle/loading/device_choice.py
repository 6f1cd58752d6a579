"""Opens a version on a GPU, if serving.json allows it and the version passes there, or on the CPU."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from app.contract.device import AUTO, CPU
from app.contract.model_spec import ModelSpec
from app.contract.version_files import Graph
from app.errors import BackendFailed, VersionRefused
from app.runtime.backend import Backend
from app.runtime.failover import Condition, FailoverBackend
from app.runtime.placement import Placement, Placer
from app.runtime.router import RoutedBackend, Router, crossover, faster_of
from app.runtime.warmup import LatencyCurve
from app.types import Clock

log = logging.getLogger("atelier.devices")


@dataclass(frozen=True, kw_only=True)
class GpuRequest:
    """Arguments for opening a GPU backend.

    Attributes:
        graph: verified; it exists while the version loads.
        spec: its contract.
        gpu_mem_limit_mb: most memory of its arena in MiB; None sets no limit.
        max_batch_size: largest batch that will run.
    """

    graph: Graph
    spec: ModelSpec
    gpu_mem_limit_mb: int | None
    max_batch_size: int


@dataclass(frozen=True, kw_only=True)
class Verified:
    """A backend that has passed the golden gate.

    Attributes:
        backend: ready to serve.
        difference: largest difference from Keras; None without golden samples.
        curve: its latency.
    """

    backend: Backend
    difference: float | None
    curve: LatencyCurve


@dataclass(frozen=True, kw_only=True)
class Placed(Verified):
    """An instance of a version on its device.

    Attributes:
        placement: where it runs, and why.
        condition: whether its device works.
    """

    placement: Placement
    condition: Condition = field(default_factory=Condition)

    @classmethod
    def of(cls, verified: Verified, placement: Placement) -> "Placed":
        """A verified backend where it was placed."""
        return cls(backend=verified.backend, difference=verified.difference, curve=verified.curve, placement=placement)


@dataclass(frozen=True, kw_only=True)
class DeviceChooser:
    """Chooses the device of a version, and opens the version there.

    Attributes:
        placer: knows the devices.
        default_device: of models whose serving.json does not name one.
        open_gpu: opens a graph on a GPU, "cuda:N"; VersionRefused or BackendFailed if that is not possible.
        clock: monotonic seconds.
    """

    placer: Placer
    default_device: str
    open_gpu: Callable[[GpuRequest, str], Backend]
    clock: Clock

    def open(
        self,
        request: GpuRequest,
        wanted: str | None,
        *,
        open_cpu: Callable[[], Backend],
        verify: Callable[[Backend, str], Verified],
    ) -> Placed:
        """A verified backend, and where it runs. Blocks.

        "auto" takes the GPU for the batches at which it is measured to be faster. If it is so at none, or the version
        does not pass there, the version runs on the CPU alone.

        Args:
            request: what the GPU backend is opened for.
            wanted: of serving.json; None takes the default.
            open_cpu: opens the version on the CPU.
            verify: replays the golden samples on a backend of that device and measures; closes what does not pass.

        Raises:
            VersionRefused: it does not pass, or must run on a GPU and cannot.
            BackendFailed: the runtime failed on a golden sample.
        """
        wanted = wanted or self.default_device
        placement = self.placer.place(wanted)
        if placement.device == CPU:
            return Placed.of(verify(open_cpu(), CPU), placement)
        try:
            if wanted == AUTO:
                return self._on_both(request, placement, open_cpu, verify)
            verified = verify(self.open_gpu(request, placement.device), placement.device)
            return self._guarded(verified, placement, lambda: verify(open_cpu(), CPU).backend, request.spec.name)
        except BaseException:
            self.placer.release(placement)
            raise

    def _on_both(
        self,
        request: GpuRequest,
        placement: Placement,
        open_cpu: Callable[[], Backend],
        verify: Callable[[Backend, str], Verified],
    ) -> Placed:
        """The CPU's backend together with the GPU's, or alone with the reason."""
        name = request.spec.name
        cpu = verify(open_cpu(), CPU)
        try:
            gpu = verify(self.open_gpu(request, placement.device), placement.device)
        except (VersionRefused, BackendFailed) as error:
            log.warning("model %s runs on the CPU; %s was tried: %s", name, placement.device, error.message)
            return self._cpu_alone(cpu, placement, f"{placement.device} was tried: {error.message}")
        except BaseException:
            cpu.backend.close()
            raise
        size = crossover(gpu.curve, cpu.curve)
        if size is None:
            gpu.backend.close()
            why = f"the CPU was measured to be faster than {placement.device} at every batch size"
            return self._cpu_alone(cpu, placement, why)
        reason = placement.reason
        if size > 1:
            reason += f"; batches of fewer than {size} instances were measured to be faster on the CPU and run there"
        guarded = self._guarded(gpu, replace(placement, reason=reason), lambda: cpu.backend, name)
        routed = RoutedBackend(
            guarded.backend,
            cpu.backend,
            Router(gpu.curve, cpu.curve),
            condition=guarded.condition,
            clock=self.clock,
            sequence=request.spec.sequence,
        )
        return replace(
            guarded, backend=routed, difference=largest_difference([gpu, cpu]), curve=faster_of(gpu.curve, cpu.curve)
        )

    def _cpu_alone(self, cpu: Verified, placement: Placement, why: str) -> Placed:
        self.placer.release(placement)
        return Placed.of(cpu, Placement(CPU, f"device is 'auto', and {why}"))

    def _guarded(self, gpu: Verified, placement: Placement, open_spare: Callable[[], Backend], name: str) -> Placed:
        """The GPU's backend with the CPU behind it; once it is closed, its place is free."""
        condition = Condition()
        backend = FailoverBackend(
            gpu.backend,
            open_spare,
            condition,
            name=f"model {name} on {placement.device}",
            clock=self.clock,
            on_close=lambda: self.placer.release(placement),
        )
        return replace(Placed.of(gpu, placement), backend=backend, condition=condition)


def open_all(count: int, open_one: Callable[[], Placed]) -> list[Placed]:
    """A number of instances, or none: if one cannot be opened, earlier ones are closed, and their places are free."""
    opened: list[Placed] = []
    try:
        for _ in range(count):
            opened.append(open_one())
    except BaseException:
        close_all(opened)
        raise
    return opened


def close_all(opened: Sequence[Placed]) -> None:
    """Close the backends of instances that will not serve."""
    for each in opened:
        each.backend.close()


def largest_difference(backends: Sequence[Verified]) -> float | None:
    """The largest difference from Keras; None without golden samples."""
    return max((each.difference for each in backends if each.difference is not None), default=None)
