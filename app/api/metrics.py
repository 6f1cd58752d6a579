"""GET /metrics for Prometheus."""

from collections.abc import Awaitable, Callable

from fastapi import APIRouter, Depends, Request, Response
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from app.api.admin import KeyGuard


def metrics_router(metrics: Callable[[], Awaitable[Collector]], guard: KeyGuard | None = None) -> APIRouter:
    """The scrape route, in the text format that the scraper requests.

    Args:
        metrics: the collected metrics.
        guard: requires a key; None: the route is open.
    """
    router = APIRouter(tags=["metrics"], dependencies=[] if guard is None else [Depends(guard)])

    @router.get("/metrics", summary="All metrics, for Prometheus", response_class=Response)
    async def scrape(request: Request) -> Response:
        try:
            encode, content_type = choose_encoder(request.headers.get("accept", ""))
        except (TypeError, ValueError):  # a version that is not a number; a server may ignore an invalid preference
            encode, content_type = choose_encoder("")
        return Response(encode(await metrics()), headers={"content-type": content_type})

    return router
