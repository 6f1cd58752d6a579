"""All routes but inference, as a FastAPI application. Importing this module imports FastAPI, which takes a while."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from fastapi import FastAPI
from prometheus_client.registry import Collector
from starlette.types import Receive, Scope, Send

from app import __version__
from app.api.admin import AdminGuard, FeedbackGuard, KeyGuard
from app.api.devices import devices_router
from app.api.docs_page import add_docs_page
from app.api.documentation import add_inference_routes
from app.api.error_handlers import add_error_handlers
from app.api.feedback import feedback_router
from app.api.health import health_router
from app.api.live_feed import live_router
from app.api.metrics import metrics_router
from app.api.models import models_router
from app.api.oip import oip_router
from app.api.playground_page import add_playground
from app.api.repository import repository_router
from app.api.shadow import shadow_router
from app.api.shared_memory import shared_memory_router
from app.api.statistics import statistics_router
from app.control.administration import AdminRule, RepositoryCommands
from app.control.api_keys import ApiKeys
from app.control.describe import TotalStatistics
from app.control.feedback import FeedbackDesk
from app.edge.entry.probes import Probes
from app.edge.shared_memory.regions import Closed, Regions
from app.lifecycle.registry import Registry
from app.runtime.gpu_usage import GpuMeter
from app.runtime.placement import Placer


class Documented(FastAPI):
    """FastAPI whose document also has the inference routes, which it does not answer."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI. Its paths begin with ``root_path``, which a proxy has removed (ASGI, HTTP connection scope)."""
        if scope["type"] == "http" and not scope["path"].startswith(f"{self.root_path}/"):
            scope = {**scope, "path": self.root_path + scope["path"]}
        await super().__call__(scope, receive, send)

    def openapi(self) -> dict[str, Any]:
        """The OpenAPI document."""
        if self.openapi_schema is None:
            add_inference_routes(super().openapi())
        return super().openapi()


def build_api(
    *,
    registry: Registry,
    probes: Probes,
    placer: Placer,
    gpus: GpuMeter,
    threads: int,
    statistics: TotalStatistics,
    commands: RepositoryCommands,
    admin: AdminRule,
    memory: Regions | Closed,
    metrics: Callable[[], Awaitable[Collector]],
    metrics_compat: Sequence[str],
    metrics_keys: ApiKeys | None,
    feedback: FeedbackDesk,
    feedback_keys: ApiKeys | None,
    unload_timeout_s: float,
    playground: bool,
    root_path: str,
) -> Documented:
    """All routes but inference.

    Args:
        registry: the models.
        probes: health.
        placer, gpus, threads: what the models run on.
        statistics: all counts.
        commands: load, unload, promote, roll back.
        admin: who may call them.
        memory: shared with clients on this machine.
        metrics: collects all metrics.
        metrics_compat: other servers whose names the metrics have too.
        metrics_keys: keys that a scrape requires; None: it requires none.
        feedback: takes the right answers to recorded requests.
        feedback_keys: keys that may send them; None: only those who may call the commands.
        unload_timeout_s: seconds for requests in progress when a version is unloaded.
        playground: whether a browser gets a page on which models can be tried.
        root_path: path under which a proxy shows the service; pages and the OpenAPI document have it in addresses.
    """
    api = Documented(
        title="Atelier",
        version=__version__,
        description="Verified Keras models behind TensorFlow Serving's REST protocol and the Open Inference Protocol. "
        "[Try them in the browser](./).",
        docs_url=None,
        redoc_url=None,
        root_path=root_path,
    )
    guard = AdminGuard(admin)
    metrics_guard = None if metrics_keys is None else KeyGuard(metrics_keys, "metrics")
    for router in (
        health_router(probes),
        models_router(registry),
        devices_router(registry, placer, gpus, threads=threads),
        statistics_router(registry, statistics),  # before the routes that accept any model name
        shadow_router(registry, statistics),
        oip_router(registry),
        repository_router(registry, commands, guard, unload_timeout_s=unload_timeout_s),
        shared_memory_router(memory, guard),
        feedback_router(feedback, FeedbackGuard(guard, feedback_keys)),
        metrics_router(
            metrics,
            metrics_guard,
            has_tfs_path="tfs" in metrics_compat,
        ),
    ):
        api.include_router(router)
    add_docs_page(api, registry)
    add_playground(api, registry, is_on=playground)
    if playground:
        api.include_router(live_router(metrics, metrics_guard, lambda: registry.draining))
    add_error_handlers(api)
    return api
