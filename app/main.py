"""Wires the service. ``uvicorn --factory app.main:create_app`` works as well as ``python -m app serve``."""

import asyncio
import gc
import logging
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from fastapi import FastAPI
from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector
from prometheus_client.registry import Collector
from starlette.types import Message, Receive, Scope, Send

from app import __version__
from app.api.admin import AdminGuard
from app.api.devices import devices_router
from app.api.docs_page import add_docs_page
from app.api.documentation import add_inference_routes
from app.api.health import health_router
from app.api.metrics import metrics_router
from app.api.models import models_router
from app.api.oip import oip_router
from app.api.repository import repository_router
from app.api.shadow import shadow_router
from app.api.statistics import statistics_router
from app.edge.dispatch import Dispatch
from app.edge.incoming import EdgeLimits
from app.error_handlers import add_error_handlers
from app.errors import CannotListen
from app.repository.last_good import last_good, remember
from app.repository.policy import ServingPolicy
from app.repository.scan import fingerprint, scan, snapshot
from app.repository.serving_file import halt, promote, rollback, rollback_target
from app.repository.watch import changes
from app.runtime.devices import probe_devices, threads_of_a_worker
from app.runtime.gpu_usage import GpuMeter
from app.runtime.io_binding import BoundBackend, open_on_gpu
from app.runtime.onnx_backend import OnnxBackend
from app.runtime.placement import Placer
from app.runtime.warmup import measure_thread_hop
from app.serving.accelerated import Accelerators, GpuRequest
from app.serving.administration import AdminRule, RepositoryCommands
from app.serving.follower import Follower
from app.serving.lifecycle import Lifecycle
from app.serving.loader import Loader
from app.serving.registry import Registry
from app.serving.version_loads import Repository
from app.settings import Settings
from app.telemetry.gpus import WithGpus
from app.telemetry.metrics import Metrics
from app.worker_hooks import WorkerHooks

if TYPE_CHECKING:
    from app.edge.grpc.server import GrpcServer

log = logging.getLogger("atelier.main")

T = TypeVar("T")

# A batch runs on the event loop if that takes less time than this many hops to a worker thread and back: the hop delays
# the answer once, and its switches of threads cost the processor as much again on either side.
INLINE_HOPS = 4
# New objects between two collections of the youngest; Python's own default is 700.
GC_ALLOCATIONS = 50_000
# With one core a worker thread gains nothing but that the event loop gets its turn during a long batch.
INLINE_ON_ONE_CORE_S = 0.001


class Atelier(FastAPI):
    """A FastAPI application whose inference paths are answered before FastAPI sees them."""

    registry: Registry
    lifecycle: Lifecycle
    dispatch: Dispatch
    metrics: Metrics
    grpc: "GrpcServer | None" = None
    # Why the application did not start, if that is nobody's mistake in the code.
    startup_error: CannotListen | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] == "lifespan":
            send = partial(self._send_reason, send)
        await self.dispatch(scope, receive, send, super().__call__)

    async def _send_reason(self, send: Send, message: Message) -> None:
        """Starlette sends the traceback of what stopped the start; an address that is taken is said in a sentence."""
        if message["type"] == "lifespan.startup.failed" and self.startup_error is not None:
            message["message"] = self.startup_error.message
        await send(message)

    def openapi(self) -> dict[str, Any]:
        """FastAPI's document with the inference routes added."""
        if self.openapi_schema is None:
            add_inference_routes(super().openapi())
        return super().openapi()


def create_app(settings: Settings | None = None, hooks: WorkerHooks | None = None) -> Atelier:
    """Build the service; models load once the event loop runs.

    Args:
        settings: None reads the environment.
        hooks: what is done together with other workers; None: this process is the only one.
    """
    settings = settings or Settings()
    metrics = Metrics()
    placer, gpus = Placer(probe_devices), GpuMeter()
    lifecycle = build_lifecycle(settings, metrics, placer, hooks)
    registry = lifecycle.registry
    app = Atelier(
        title="Atelier",
        version=__version__,
        description="Verified Keras models behind TensorFlow Serving's REST protocol and the Open Inference Protocol.",
        lifespan=partial(_lifespan, settings=settings, metrics=metrics, hooks=hooks),
        docs_url=None,
        redoc_url=None,
    )
    app.registry, app.lifecycle, app.metrics = registry, lifecycle, metrics
    metrics.rollouts, metrics.loaded = registry.rollouts, registry.loaded
    app.dispatch = Dispatch(
        registry=registry,
        limits=EdgeLimits(settings.body_limit_bytes, settings.json_fallback_limit_bytes),
        observer=metrics,
        clock=time.perf_counter,
    )
    exposition = CollectorRegistry()
    exposition.register(metrics)
    for collector in (ProcessCollector, PlatformCollector, GCCollector):
        collector(registry=exposition)
    commands: RepositoryCommands = lifecycle if hooks is None else hooks.commands
    total = partial(_itself, metrics) if hooks is None else hooks.total
    scrape = partial(_itself, exposition) if hooks is None else hooks.total
    app.include_router(health_router(registry))
    app.include_router(models_router(registry))
    app.include_router(devices_router(registry, placer, gpus, threads=threads_of_a_worker(settings.workers)))
    app.include_router(statistics_router(registry, total))  # before the routes that take any model name
    app.include_router(shadow_router(registry, total))
    app.include_router(oip_router(registry))
    admin = AdminRule(key=settings.admin_key, host=settings.host)
    if admin.is_closed:
        log.warning(
            "load, unload, promote and rollback are closed: %s is not this machine alone, and "
            "ATELIER_ADMIN_KEY is not set",
            settings.host,
        )
    guard = AdminGuard(admin)
    app.include_router(repository_router(registry, commands, guard, unload_timeout_s=settings.shutdown_timeout_s))
    app.include_router(metrics_router(partial(_with_gpus, gpus, scrape)))
    add_docs_page(app)
    add_error_handlers(app)
    return app


async def _itself(value: T) -> T:
    """For what a worker would ask its supervisor for."""
    return value


async def _with_gpus(gpus: GpuMeter, others: Callable[[], Awaitable[Collector]]) -> Collector:
    """All metrics of a scrape. The driver may take milliseconds to answer, so it is asked in a thread."""
    return WithGpus(await others(), await asyncio.to_thread(gpus.read))


def build_lifecycle(
    settings: Settings, metrics: Metrics, placer: Placer | None = None, hooks: WorkerHooks | None = None
) -> Lifecycle:
    """The registry over the models directory and what fills it; nothing is loaded yet.

    Args:
        settings: of the process.
        metrics: count what is loaded and run.
        placer: knows the devices; None makes one.
        hooks: to the supervisor, in a worker process.
    """
    models_dir = settings.models_dir
    with ThreadPoolExecutor(1) as executor:
        hop_s = measure_thread_hop(executor, clock=time.perf_counter)
    threads = threads_of_a_worker(settings.workers)
    loader = Loader(
        models_dir=models_dir,
        make_backend=OnnxBackend,
        default_backend=settings.backend,
        threads=threads,
        observer_for=metrics.for_version,
        inline_below_s=max(INLINE_HOPS * hop_s, INLINE_ON_ONE_CORE_S if threads == 1 else 0.0),
        pixel_limit=settings.pixel_limit,
        clock=time.perf_counter,
        accelerators=Accelerators(
            placer=placer or Placer(probe_devices),
            default_device=settings.device,
            open_gpu=_open_gpu,
            clock=time.perf_counter,
        ),
    )
    repository = Repository(
        scan=partial(scan, models_dir),
        snapshot=partial(snapshot, models_dir),
        policy=lambda name: ServingPolicy.read(models_dir / name),
        remember=lambda name, policy: remember(models_dir / name, policy),
        last_good=lambda name: last_good(models_dir / name),
        fingerprint=lambda name, version: fingerprint(models_dir / name / str(version)),
        load=loader.load,
        promote=lambda name, version, versions: promote(models_dir / name, version, versions=versions),
        rollback=lambda name, versions: rollback(models_dir / name, versions=versions),
        halt=None if hooks is not None else lambda name, reason: halt(models_dir / name, reason),
        rollback_target=lambda name, versions: rollback_target(models_dir / name, versions=versions),
    )
    registry = Registry(scan=repository.scan, on_state=metrics.set_state)
    unloaded = hooks.unloaded if hooks is not None else None
    return Lifecycle(registry, repository, on_load=metrics.load_done, on_policy=metrics.policy_read, unloaded=unloaded)


def _open_gpu(request: GpuRequest, device: str) -> BoundBackend:
    return open_on_gpu(
        request.path,
        request.spec,
        device,
        gpu_mem_limit_mb=request.gpu_mem_limit_mb,
        max_batch_size=request.max_batch_size,
    )


@asynccontextmanager
async def _lifespan(
    app: FastAPI, *, settings: Settings, metrics: Metrics, hooks: WorkerHooks | None
) -> AsyncIterator[None]:
    """Load while the process is already live, so that a probe can tell loading from dead; drain at the end."""
    assert isinstance(app, Atelier)
    loaded = hooks.loaded if hooks is not None else asyncio.Event()
    loading = asyncio.create_task(_load_and_follow(app.lifecycle, settings, loaded))
    try:
        if hooks is not None and hooks.loads_first:
            await loaded.wait()
        if settings.grpc_port is not None:
            app.grpc = await _start_grpc(app, settings, metrics, hooks)
        yield
    finally:
        app.registry.start_draining()
        loading.cancel()
        await asyncio.gather(loading, return_exceptions=True)
        if app.grpc is not None:
            await app.grpc.stop()
        await app.registry.drain(settings.shutdown_timeout_s)


async def _load_and_follow(lifecycle: Lifecycle, settings: Settings, loaded: asyncio.Event) -> None:
    """Load all models, spare the garbage collector what stays for good, then follow what changes on the disk.

    A full collection walks every object: tens of milliseconds with all libraries loaded, in the midst of requests that
    take two. Frozen objects are not walked, and requests leave no cycles behind, so collections may be rare.
    """
    follower = Follower(lifecycle)
    await follower.remember()
    await lifecycle.load_all()
    gc.collect()
    gc.freeze()
    gc.set_threshold(GC_ALLOCATIONS)
    loaded.set()
    await follower.run(changes(settings.models_dir, settings.watch))


async def _start_grpc(app: Atelier, settings: Settings, metrics: Metrics, hooks: WorkerHooks | None) -> "GrpcServer":
    """Listen on ``grpc_port``. Imported here: who does not ask for gRPC does not wait for its libraries."""
    # Its C core writes to standard error past our log; what matters of that raises as well.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    from app.edge.grpc.server import GrpcServer
    from app.edge.grpc.servicer import InferenceServicer

    assert settings.grpc_port is not None
    servicer = InferenceServicer(
        registry=app.registry,
        commands=app.lifecycle if hooks is None else hooks.commands,
        statistics=partial(_itself, metrics) if hooks is None else hooks.total,
        observer=metrics,
        admin=AdminRule(key=settings.admin_key, host=settings.host),
        unload_timeout_s=settings.shutdown_timeout_s,
        clock=time.perf_counter,
    )
    server = GrpcServer(
        servicer,
        registry=app.registry,
        host=settings.host,
        message_limit_bytes=settings.body_limit_bytes,
        stop_timeout_s=settings.shutdown_timeout_s,
    )
    try:
        await server.start(settings.grpc_port, shared=hooks is not None)
    except CannotListen as error:
        app.startup_error = error
        raise
    return server
