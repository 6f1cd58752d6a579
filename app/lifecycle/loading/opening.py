"""Opens the instances of a version: each on its device, each verified before the next."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from app.contract.device import CPU, CUDA
from app.contract.model_spec import ModelSpec
from app.contract.version_files import Graph
from app.errors import VersionRefused
from app.lifecycle.loading.device_choice import DeviceChooser, GpuRequest, Placed, open_all
from app.lifecycle.loading.thread_choice import with_threads
from app.lifecycle.loading.verification import Gate
from app.lifecycle.loading.version_on_disk import HeldGraph, VersionOnDisk
from app.repository.policy import RunBy, ServingPolicy
from app.runtime.backend import Backend
from app.runtime.placement import ON_CPU, Placement
from app.types import Clock


@dataclass(frozen=True, kw_only=True)
class Opening:
    """Opens versions with the settings of their model.

    Attributes:
        serving: the settings.
        make_backend, threads, device_chooser, clock: see ``Loader``.
    """

    serving: ServingPolicy
    make_backend: Callable[..., Backend]
    threads: int
    device_chooser: DeviceChooser | None
    clock: Clock

    @property
    def threads_each(self) -> int:
        """Threads of one of the instances that run in processes."""
        return max(1, self.threads // self.serving.instances)

    @property
    def make(self) -> Callable[[Graph, ModelSpec, int], Backend]:
        """Opens graphs on the CPU with the settings of the model."""
        return self.make_backend if self.serving.enable_cpu_mem_arena else partial(self.make_backend, arena=False)

    def instances(self, read: VersionOnDisk, gate: Gate) -> list[Placed]:
        """All instances of a version, verified, on the devices that serving.json specifies."""
        files = read.files
        if read.backend != "onnx":
            files.check_rest()
            return open_all(self.serving.instances, lambda: self._in_process(read, gate))
        graphs = HeldGraph(files)
        with graphs.held() as graph:
            files.check_rest()
            return open_all(self.serving.instances, self._opener(graphs, graph, read, gate))

    def _in_process(self, read: VersionOnDisk, gate: Gate) -> Placed:
        placement = _place_process(self.serving.device, read.backend)
        assert read.again is not None
        backend = read.take() or read.again(read.contract.spec, self.threads_each)
        return Placed.of(gate.verify(backend, CPU), placement)

    def _opener(self, graphs: HeldGraph, graph: Graph, read: VersionOnDisk, gate: Gate) -> Callable[[], Placed]:
        """Opens another instance of an ONNX graph."""
        spec, serving, make = read.contract.spec, self.serving, self.make

        def open_cpu() -> Backend:
            with graphs.in_memory_or_read() as now:
                # Several instances have a thread each: more threads of one would be missing for the others.
                single = read.take() or make(now, spec, 1)
                if serving.instances > 1:
                    return single
                open_again = partial(make, now, spec)
                return with_threads(single, open_again, self.threads, read.contract.samples, clock=self.clock)

        device_chooser = self.device_chooser
        if device_chooser is None:
            return lambda: Placed.of(gate.verify(open_cpu(), CPU), ON_CPU)
        request = GpuRequest(
            graph=graph,
            spec=spec,
            gpu_mem_limit_mb=serving.gpu_mem_limit_mb,
            max_batch_size=gate.max_batch_size,
        )
        return lambda: device_chooser.open(request, serving.device, open_cpu=open_cpu, verify=gate.verify)


def _place_process(device: str | None, backend: RunBy) -> Placement:
    """The CPU, for ``device`` of serving.json, for a model in a separate process.

    Raises:
        VersionRefused: it requires a GPU.
    """
    if device is not None and device.startswith(CUDA):
        raise VersionRefused(f"device is {device!r}, and backend {backend!r} runs on the CPU only")
    return Placement(CPU, f"backend is {backend!r}, which runs on the CPU")
