"""GET /metrics for Prometheus."""

from fastapi import APIRouter, Request, Response
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder


def metrics_router(metrics: CollectorRegistry) -> APIRouter:
    """The route of the scrape, in the text format that the scraper asks for."""
    router = APIRouter(tags=["metrics"])

    @router.get("/metrics", summary="All metrics, for Prometheus", response_class=Response)
    async def scrape(request: Request) -> Response:
        encode, content_type = choose_encoder(request.headers.get("accept", ""))
        return Response(encode(metrics), headers={"content-type": content_type})

    return router
