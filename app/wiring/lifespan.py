"""Start and stop of the service: load, follow the disk, serve gRPC; at the end, drain."""

import asyncio
import gc
import logging
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from app.control.api_keys import ApiKeys
from app.errors import CannotListen
from app.lifecycle.draining import drain
from app.lifecycle.follower import Follower
from app.lifecycle.readiness import not_ready_reason
from app.lifecycle.registry import Registry
from app.repository.changes import changes
from app.settings import Settings
from app.wiring.application import Atelier
from app.wiring.housekeeping import Housekeeping
from app.wiring.open_files import allow_open_files
from app.wiring.processes import Processes

if TYPE_CHECKING:
    from app.edge.grpc.server import GrpcServer

log = logging.getLogger("atelier.main")

# New objects between two collections of the youngest; Python's own default is 700.
GC_ALLOCATIONS = 50_000
LOOK_AT_KEYS_EVERY_S = 1.0
# At the end of the process, for what is recorded and not on the disk yet.
WRITE_RECORDINGS_WITHIN_S = 2.0
COUNT_DRIFT_EVERY_S = 1.0


@asynccontextmanager
async def lifespan(
    app: Atelier, *, settings: Settings, processes: Processes, housekeeping: Housekeeping
) -> AsyncIterator[None]:
    """Load while the process is already live, so that a probe can distinguish loading from dead; drain at the end."""
    allow_open_files(settings.max_connections)
    tasks = [asyncio.create_task(_load_and_follow(app, settings, processes.loaded, housekeeping))]
    if settings.drift:
        tasks.append(asyncio.create_task(_count_drift(app.registry)))
    if app.keys is not None:
        tasks.append(asyncio.create_task(_follow_keys(app.keys)))
    try:
        if processes.loads_first:
            await processes.loaded.wait()
        if settings.grpc_port is not None:
            app.grpc = await _start_grpc(app, settings, shared=processes.are_several)
        yield
    finally:
        app.registry.start_draining()
        if app.mirror is not None:
            app.mirror.end()
        app.lifecycle.end_loads()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if app.grpc is not None:
            await app.grpc.stop()
        await drain(app.registry, settings.shutdown_timeout_s)
        app.decode_pool.close()
        app.feedback.close()
        await asyncio.to_thread(app.recordings.close, WRITE_RECORDINGS_WITHIN_S)
        if app.tracing is not None:
            await asyncio.to_thread(app.tracing.close)


async def _load_and_follow(app: Atelier, settings: Settings, loaded: asyncio.Event, housekeeping: Housekeeping) -> None:
    """Load all models, exclude lasting objects from garbage collection, and follow changes on disk at the same time.

    A full collection visits every object: with all libraries loaded that takes tens of milliseconds, while requests
    take two. Frozen objects are not visited, and ``housekeeping`` collects cycles.
    """
    lifecycle = app.lifecycle
    if app.mirror is not None:
        await app.mirror.usable()
        app.registry.loading_reason = None
    follower = Follower(lifecycle)
    await follower.remember()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(follower.run(changes(lifecycle.repository.places, settings.watch)))
        await lifecycle.load_all()
        gc.set_threshold(GC_ALLOCATIONS)
        _freeze()
        await _build_api(app)
        _freeze()
        loaded.set()
        tasks.create_task(housekeeping.run())


def _freeze() -> None:
    gc.collect()
    gc.freeze()


async def _build_api(app: Atelier) -> None:
    """Import FastAPI before a request needs it."""
    try:
        await app.api.built()
    except Exception:  # models are served all the same; the next request for another route tries again
        log.exception("the routes other than inference cannot be built")


async def _follow_keys(keys: ApiKeys) -> None:
    """Reload a changed file of API keys within two seconds."""
    while True:
        await asyncio.sleep(LOOK_AT_KEYS_EVERY_S)
        await asyncio.to_thread(keys.reread)


async def _count_drift(registry: Registry) -> None:
    """Count the rows that were sampled, in a thread."""
    while True:
        await asyncio.sleep(COUNT_DRIFT_EVERY_S)
        for model in registry.loaded():
            if model.drift is not None and model.drift.has_waiting:
                await asyncio.to_thread(model.drift.count)


async def _start_grpc(app: Atelier, settings: Settings, *, shared: bool) -> "GrpcServer":
    """Listen on ``grpc_port``. The import is here, so that a service without gRPC does not load its libraries."""
    # gRPC's C core writes to standard error past our log; important errors also raise.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    from app.edge.grpc.health import HealthServicer
    from app.edge.grpc.inference import GrpcInference
    from app.edge.grpc.joint_calls import JointCalls
    from app.edge.grpc.open_streams import OpenStreams
    from app.edge.grpc.server import GrpcServer
    from app.edge.grpc.servicer import SERVICE, InferenceServicer
    from app.edge.grpc.tfs.inference import TfsInference
    from app.edge.grpc.tfs.reload import Reload
    from app.edge.grpc.tfs.servicer import SERVICES, TfsServicer

    assert settings.grpc_port is not None
    registry = app.registry
    streams = OpenStreams(lambda: (not_ready_reason(registry) is None, registry.draining))
    answering: dict[str, Any] = {
        "keys": app.keys,
        "registry": app.registry,
        "decoding": app.decoding,
        "observer": app.metrics,
        "access_log": app.door.access_log,
        "tracer": app.tracing,
        "clock": time.perf_counter,
    }
    servicer = InferenceServicer(
        inference=GrpcInference(memory=app.memory, explainer=app.explainer, **answering),
        registry=app.registry,
        commands=app.commands,
        statistics=app.total,
        admin=app.admin,
        door=app.door,
        unload_timeout_s=settings.shutdown_timeout_s,
        send_timeout_s=settings.send_timeout_s,
        streams=streams,
        memory=app.memory,
    )
    tfs = TfsServicer(
        inference=TfsInference(message_limit_bytes=settings.body_limit_bytes, **answering),
        registry=app.registry,
        reload=Reload(
            registry=app.registry,
            commands=app.commands,
            places=app.lifecycle.repository.places,
            unload_timeout_s=settings.shutdown_timeout_s,
        ),
        admin=app.admin,
        door=app.door,
    )
    each_alone = app.keys is not None or app.door.access_log is not None or app.tracing is not None
    plain = JointCalls(
        observer=app.metrics,
        registry=registry,
        begin=servicer.begin,
        infer=servicer.ModelInfer,
        clock=answering["clock"],
    )
    server = GrpcServer(
        servicer,
        plain=None if each_alone else plain,
        tfs=tfs,
        health=HealthServicer(
            is_ready=lambda: not_ready_reason(registry) is None,
            is_ending=lambda: registry.draining,
            streams=streams,
            services=(SERVICE, *SERVICES),
        ),
        fail_unfinished=app.fail_unfinished,
        host=settings.host,
        tls=settings.tls,
        message_limit_bytes=settings.body_limit_bytes,
        max_connections=settings.max_connections,
        handshake_timeout_s=settings.head_timeout_s,
        stop_timeout_s=settings.shutdown_timeout_s,
    )
    try:
        await server.start(settings.grpc_port, shared=shared)
    except CannotListen as error:
        app.startup_error = error
        raise
    return server
