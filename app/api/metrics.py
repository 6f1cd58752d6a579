"""GET /metrics for Prometheus."""

from collections.abc import Awaitable, Callable

from fastapi import APIRouter, Request, Response
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector


def metrics_router(metrics: Callable[[], Awaitable[Collector]]) -> APIRouter:
    """The route of the scrape, in the text format that the scraper asks for."""
    router = APIRouter(tags=["metrics"])

    @router.get("/metrics", summary="All metrics, for Prometheus", response_class=Response)
    async def scrape(request: Request) -> Response:
        try:
            encode, content_type = choose_encoder(request.headers.get("accept", ""))
        except (TypeError, ValueError):  # a version that is no number; a server may ignore what makes no sense
            encode, content_type = choose_encoder("")
        return Response(encode(await metrics()), headers={"content-type": content_type})

    return router
