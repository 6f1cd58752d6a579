"""Wires the service. ``uvicorn --factory app.main:create_app`` works as well as ``python -m app serve``."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector
from prometheus_client.registry import Collector

from app.batching.loop_rest import LoopRest
from app.control.administration import AdminRule, is_loopback
from app.control.api_keys import ApiKeys
from app.control.feedback import FeedbackDesk
from app.control.sites import Sites
from app.edge.codec.decode_pool import THREADS, DecodePool
from app.edge.connection.limits import Connections, HttpLimits
from app.edge.entry.access_log import AccessLog
from app.edge.entry.cors import Cors
from app.edge.entry.door import Door
from app.edge.entry.probes import Probes
from app.edge.http.body import BodyLimits
from app.edge.http.body_decoding import BodyDecoding
from app.edge.http.dispatch import Dispatch
from app.edge.respond import ASGIApp
from app.edge.shared_memory.regions import Closed, Regions
from app.explain.explainer import Explainer
from app.lifecycle.readiness import not_ready_reason
from app.recording.recordings import Recordings
from app.runtime.devices import probe_devices, threads_of_a_worker
from app.runtime.gpu_usage import GpuMeter
from app.runtime.memory import resident_bytes, trimmer
from app.runtime.placement import Placer
from app.settings import Settings
from app.telemetry.compat import Compat
from app.telemetry.gpus import WithGpus
from app.telemetry.metrics import Metrics
from app.telemetry.tracing import Tracing
from app.wiring.application import Atelier
from app.wiring.assembly import build_lifecycle
from app.wiring.housekeeping import Housekeeping
from app.wiring.late import LateApplication
from app.wiring.lifespan import lifespan
from app.wiring.processes import Processes, SingleProcess
from app.wiring.remote_models import mirror_thread

log = logging.getLogger("atelier.main")


def create_app(settings: Settings | None = None, processes: Processes | None = None) -> Atelier:
    """Build the service; models load once the event loop runs.

    Args:
        settings: None reads the environment.
        processes: of the service; None: this one is all of it.
    """
    settings, processes = settings or Settings(), processes or SingleProcess()
    metrics = Metrics(histograms=settings.metrics_histograms, compat=settings.metrics_compat)
    placer, gpus = Placer(probe_devices), GpuMeter()
    housekeeping = Housekeeping(trim=trimmer(), resident_bytes=resident_bytes)
    # With several cores the event loop and the models do not interrupt each other.
    loop_rest = LoopRest() if threads_of_a_worker(settings.workers) == 1 else None
    recordings = Recordings(settings.state_dir, metrics)
    lifecycle = build_lifecycle(settings, metrics, placer, processes, housekeeping.freed, loop_rest, recordings.start)
    registry = lifecycle.registry
    app = Atelier(partial(lifespan, settings=settings, processes=processes, housekeeping=housekeeping))
    app.registry, app.lifecycle, app.metrics = registry, lifecycle, metrics
    app.recordings, app.feedback = recordings, FeedbackDesk(registry, metrics)
    app.mirror = mirror_thread(settings)
    if app.mirror is not None:
        registry.loading_reason = app.mirror.state
        metrics.copied_at = app.mirror.mirror.copied_at
    app.commands, app.total = processes.commands(lifecycle), partial(processes.statistics, metrics)
    metrics.rollouts, metrics.loaded = registry.rollouts, registry.loaded
    metrics.is_ready = lambda: not_ready_reason(registry) is None
    app.connections = Connections(http_limits(settings), None if loop_rest is None else loop_rest.rest)
    limits = BodyLimits(settings.body_limit_bytes, settings.json_fallback_limit_bytes)
    app.decode_pool = DecodePool(threads=THREADS, memory_bytes=settings.decode_memory_bytes, clock=time.perf_counter)
    app.memory = shared_memory(settings)
    app.decoding = BodyDecoding(
        limits=limits,
        memory=app.memory,
        pool=app.decode_pool,
        bodies=app.connections.bodies,
        unread=app.connections.unread,
        clock=time.perf_counter,
    )
    path = settings.api_keys_file
    app.keys = None if path is None else ApiKeys(path, clock=time.monotonic)
    app.registry.asleep.wakes_for_metadata = app.keys is None
    sites = Sites(
        is_local=is_loopback(settings.host), allowed_hosts=settings.allowed_hosts, origins=settings.cors_origins
    )
    app.door = Door(
        sites=sites,
        cors=Cors(sites) if sites.has_origins else None,
        keys=app.keys,
        access_log=AccessLog.parse(settings.access_log),
    )
    if settings.tracing_endpoint is not None:
        app.tracing = Tracing(endpoint=settings.tracing_endpoint, ratio=settings.tracing_ratio, clock=time.perf_counter)
    app.explainer = Explainer(
        batch_s=settings.explain_batch_ms / 1e3,
        clock=time.perf_counter,
        is_loaded=registry.has,
        is_ending=lambda: registry.draining,
    )
    app.dispatch = Dispatch(
        door=app.door,
        registry=registry,
        limits=limits,
        decoding=app.decoding,
        explainer=app.explainer,
        observer=metrics,
        clock=time.perf_counter,
        tracer=app.tracing,
    )
    app.probes = Probes(registry)
    exposition = CollectorRegistry()
    exposition.register(metrics)
    for collector in (ProcessCollector, PlatformCollector, GCCollector):
        collector(registry=exposition)
    app.admin = admin_rule(settings, app.keys)
    if app.admin.is_closed:
        log.warning(
            "load, unload, promote and rollback are closed: %s is not this machine alone, and "
            "ATELIER_ADMIN_KEY is not set",
            settings.admin_address.host,
        )
    app.api = LateApplication(
        partial(
            _build_api,
            registry=registry,
            probes=app.probes,
            placer=placer,
            gpus=gpus,
            threads=threads_of_a_worker(settings.workers),
            statistics=app.total,
            commands=app.commands,
            admin=app.admin,
            memory=app.memory,
            metrics=partial(_with_gpus, gpus, partial(processes.metrics, exposition), settings.metrics_compat),
            metrics_compat=settings.metrics_compat,
            metrics_keys=app.keys if settings.metrics_access == "key" else None,
            feedback=app.feedback,
            feedback_keys=app.keys,
            unload_timeout_s=settings.shutdown_timeout_s,
            playground=settings.playground,
            root_path=settings.root_path,
        )
    )
    return app


def http_limits(settings: Settings) -> HttpLimits:
    """The limits of HTTP connections, from the settings of the same names."""
    return HttpLimits(**{name: getattr(settings, name) for name in HttpLimits.__dataclass_fields__})


def shared_memory(settings: Settings) -> Regions | Closed:
    """The regions that clients on this machine may register."""
    if not settings.shared_memory:
        return Closed("the service was started with --no-shared-memory")
    if settings.workers > 1:
        return Closed("worker processes do not share their regions")
    return Regions(limit_bytes=settings.body_limit_bytes)


def admin_rule(settings: Settings, keys: ApiKeys | None) -> AdminRule:
    """The access rule for the admin routes."""
    return AdminRule(
        mode=settings.admin,
        key=settings.admin_key,
        keys=keys,
        host=settings.admin_address.host,
        has_listener=settings.admin_bind is not None,
    )


def _build_api(**parts: Any) -> ASGIApp:
    from app.api.application import build_api

    return build_api(**parts)


async def _with_gpus(gpus: GpuMeter, others: Callable[[], Awaitable[Collector]], compat: Sequence[Compat]) -> Collector:
    """All metrics of a scrape. Runs in a thread, because the driver may take milliseconds to answer."""
    return WithGpus(await others(), await asyncio.to_thread(gpus.read), compat)
