"""From settings to a lifecycle: the registry, the loader of versions into it, and the repository on disk."""

import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from app.batching.loop_rest import LoopRest
from app.contract.files.private import sweep
from app.drift.watch import DriftSettings
from app.lifecycle.lifecycle import Lifecycle
from app.lifecycle.loading.device_choice import DeviceChooser, GpuRequest
from app.lifecycle.loading.loader import Loader
from app.lifecycle.loading.memory_need import MemoryNeeds
from app.lifecycle.loading.samples import stored
from app.lifecycle.registry import Registry
from app.loaded import LoadedModel
from app.recording.recording import Recording
from app.repository.places import Places
from app.repository.policy import ServingPolicy
from app.repository.recording_policy import RecordingPolicy
from app.repository.verified_samples import VerifiedSamples
from app.runtime.devices import probe_devices, threads_of_a_worker
from app.runtime.engines.io_binding import BoundBackend, open_on_gpu
from app.runtime.engines.onnx import OnnxBackend
from app.runtime.memory import LargeBlocks
from app.runtime.placement import Placer
from app.runtime.warmup import measure_thread_hop
from app.settings import Settings
from app.telemetry.metrics import Metrics
from app.wiring.processes import Processes, SingleProcess
from app.wiring.repository import repository_of

# A batch runs on the event loop if that takes less time than this many hops to a worker thread and back: the hop delays
# the answer once, and its switches of threads cost the same processor time again on either side.
INLINE_HOPS = 4
# With one core a worker thread only lets the event loop take its turn during a long batch.
INLINE_ON_ONE_CORE_S = 0.001


def build_lifecycle(
    settings: Settings,
    metrics: Metrics,
    placer: Placer | None = None,
    processes: Processes | None = None,
    on_freed: Callable[[], None] = lambda: None,
    loop_rest: LoopRest | None = None,
    start_recording: Callable[[str, RecordingPolicy], Recording] = Recording,
) -> Lifecycle:
    """The registry and lifecycle of the models directory; nothing is loaded yet.

    Args:
        settings: of the process.
        metrics: count what is loaded and run.
        placer: knows the devices; None makes one.
        processes: of the service; None: this one is all of it.
        on_freed: called when a version was freed.
        loop_rest: see ``Loader``.
        start_recording: see ``Lifecycle``.
    """
    processes = processes or SingleProcess()
    repository = repository_of(settings)
    needs = MemoryNeeds()

    def freed() -> None:
        needs.disturb()
        on_freed()

    loader = build_loader(settings, metrics, repository.places, placer, loop_rest, needs)
    return Lifecycle(
        Registry(scan=repository.scan, on_state=metrics.set_state),
        repository,
        load=partial(_load_apart, LargeBlocks(), loader),
        judges_canaries=not processes.are_several,
        on_load=metrics.load_done,
        on_policy=metrics.policy_read,
        on_freed=freed,
        unloaded=processes.unloaded,
        load_timeout_s=settings.load_timeout_s,
        loads_on_request=settings.load_models == "on-request",
        memory_limit_bytes=None if (limit := settings.model_memory_limit_mb) is None else limit * 2**20,
        parallel_loads=settings.parallel_loads,
        start_recording=start_recording,
    )


def build_loader(
    settings: Settings,
    metrics: Metrics,
    places: Places,
    placer: Placer | None = None,
    loop_rest: LoopRest | None = None,
    memory_needs: MemoryNeeds | None = None,
) -> Loader:
    """The loader of versions, made from the settings.

    Args:
        settings, metrics, placer, loop_rest: see ``build_lifecycle``.
        places: where the models are.
        memory_needs: measures what the versions take; None makes one.
    """
    with ThreadPoolExecutor(1) as executor:
        hop_s = measure_thread_hop(executor, clock=time.perf_counter)
    private_dir = settings.private_dir or Path(tempfile.gettempdir())
    sweep(private_dir)
    threads = threads_of_a_worker(settings.workers)
    return Loader(
        places=places,
        make_backend=OnnxBackend,
        default_backend=settings.backend,
        threads=threads,
        observer_for=metrics.for_version,
        inline_below_s=max(INLINE_HOPS * hop_s, INLINE_ON_ONE_CORE_S if threads == 1 else 0.0),
        pixel_limit=settings.pixel_limit,
        clock=time.perf_counter,
        loop_rest=loop_rest,
        private_dir=private_dir,
        require_verified=settings.require_verified,
        plugins=settings.plugins,
        memory_needs=memory_needs or MemoryNeeds(),
        drift=DriftSettings(window_s=settings.drift_window_s, rows_per_s=settings.drift_rows_per_s)
        if settings.drift
        else None,
        find_samples=stored(VerifiedSamples(settings.state_dir)),
        device_chooser=DeviceChooser(
            placer=placer or Placer(probe_devices),
            default_device=settings.device,
            open_gpu=_open_gpu,
            clock=time.perf_counter,
        ),
    )


def _load_apart(blocks: LargeBlocks, loader: Loader, name: str, version: int, policy: ServingPolicy) -> LoadedModel:
    with blocks.apart():
        return loader.load(name, version, policy)


def _open_gpu(request: GpuRequest, device: str) -> BoundBackend:
    return open_on_gpu(
        request.graph,
        request.spec,
        device,
        gpu_mem_limit_mb=request.gpu_mem_limit_mb,
        max_batch_size=request.max_batch_size,
    )
