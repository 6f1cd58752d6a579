"""GET /metrics for Prometheus."""

import asyncio
from collections.abc import Awaitable, Callable

from fastapi import APIRouter, Depends, Request, Response
from prometheus_client import Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from app.api.admin import KeyGuard
from app.edge.http.compression import accepted_encoding, compressed

TFS_PATH = "/monitoring/prometheus/metrics"
"""Where TensorFlow Serving has its metrics, as its examples configure it."""


class Collected(Collector):
    """Metric families that were collected earlier."""

    def __init__(self, families: list[Metric]) -> None:
        self._families = families

    def collect(self) -> list[Metric]:
        """Return them."""
        return self._families


def metrics_router(
    metrics: Callable[[], Awaitable[Collector]], guard: KeyGuard | None = None, *, has_tfs_path: bool = False
) -> APIRouter:
    """The scrape route, in the text format that the scraper requests.

    Args:
        metrics: the collected metrics.
        guard: requires a key; None: the route is open.
        has_tfs_path: whether TensorFlow Serving's path answers too.
    """
    # A scrape costs milliseconds: collected on the event loop, where the counts change, and printed in a thread.
    one_at_a_time = asyncio.Lock()
    router = APIRouter(tags=["metrics"], dependencies=[] if guard is None else [Depends(guard)])

    @router.get("/metrics", summary="All metrics, for Prometheus", response_class=Response)
    async def scrape(request: Request) -> Response:
        try:
            encode, content_type = choose_encoder(request.headers.get("accept", ""))
        except (TypeError, ValueError):  # a version that is not a number; a server may ignore an invalid preference
            encode, content_type = choose_encoder("")
        async with one_at_a_time:
            collected = Collected(list((await metrics()).collect()))
            text = await asyncio.to_thread(encode, collected)
        headers = {"content-type": content_type, "vary": "accept-encoding"}
        if (coding := accepted_encoding(request.headers.get("accept-encoding", "").lower())) is not None:
            text = await asyncio.to_thread(compressed, text, coding)
            headers["content-encoding"] = coding
        return Response(text, headers=headers)

    if has_tfs_path:
        router.get(TFS_PATH, summary="The same metrics, at TensorFlow Serving's path", response_class=Response)(scrape)
    return router
