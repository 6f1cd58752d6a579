"""What the service does, once a second, as events for the page at ``/``: counts, of which the page takes differences.

Source: WHATWG, server-sent events.
"""

import asyncio
import logging
import math
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import asdict
from typing import Any
from weakref import WeakSet

import orjson
from fastapi import APIRouter, Depends
from prometheus_client import Metric
from prometheus_client.registry import Collector
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from app.api.admin import KeyGuard
from app.control.readings import Counts, counts_of
from app.edge.entry.door import HEAD
from app.errors import Overloaded

log = logging.getLogger("atelier.api")

EVERY_S = 1.0
MOST_LISTENERS = 32


class LiveFeed:
    """Reads the metrics once a second while somebody listens, for all listeners together.

    Args:
        metrics: the collected metrics.
        is_ending: whether the service shuts down; the events end then, so that it need not wait for the listeners.
    """

    def __init__(self, metrics: Callable[[], Awaitable[Collector]], is_ending: Callable[[], bool]) -> None:
        self._metrics = metrics
        self._is_ending = is_ending
        # Weakly: a reply that is given up before its first event is never iterated, and so never ends its events.
        self._listeners: WeakSet[asyncio.Queue[bytes]] = WeakSet()
        self._reading: asyncio.Task[None] | None = None
        self._last = b""

    def listen(self) -> AsyncIterator[bytes]:
        """The events for one listener, until the service shuts down. One that reads slowly misses some.

        Raises:
            Overloaded: too many listen already.
        """
        if len(self._listeners) >= MOST_LISTENERS:
            raise Overloaded(f"{MOST_LISTENERS} pages show live figures already; try again later")
        latest: asyncio.Queue[bytes] = asyncio.Queue(1)
        self._listeners.add(latest)
        return self._events(latest)

    async def _events(self, latest: asyncio.Queue[bytes]) -> AsyncIterator[bytes]:
        if self._reading is None or self._reading.done():
            self._reading = asyncio.create_task(self._read())
        elif self._last:
            latest.put_nowait(self._last)
        try:
            while event := await latest.get():
                yield event
        finally:
            self._listeners.discard(latest)

    async def _read(self) -> None:
        while self._listeners:
            began = time.monotonic()
            self._tell(b"" if self._is_ending() else await self._event())
            await asyncio.sleep(max(0.0, began + EVERY_S - time.monotonic()))

    async def _event(self) -> bytes:
        try:
            families = list((await self._metrics()).collect())  # where the counts change; the rest in a thread
            return await asyncio.to_thread(_printed, families)
        except Exception:
            log.exception("the live figures cannot be read")
            return b""

    def _tell(self, event: bytes) -> None:
        """Give an event to all listeners; an empty one ends them."""
        self._last = event
        for listener in self._listeners:
            if not listener.full():
                listener.put_nowait(event)


def _printed(families: list[Metric]) -> bytes:
    return b"data: " + orjson.dumps(_document(counts_of(families))) + b"\n\n"


def _document(counts: dict[tuple[str, str], Counts]) -> dict[str, Any]:
    return {
        "at": time.monotonic(),
        "versions": [
            {"model": model, "version": int(version), **asdict(each), "buckets": _listed(each)}
            for (model, version), each in sorted(counts.items())
        ],
    }


def _listed(counts: Counts) -> list[tuple[float | None, float]]:
    """Upper bounds in seconds with their counts; None for infinity, which JSON does not have."""
    return [(None if math.isinf(bound) else bound, count) for bound, count in sorted(counts.buckets.items())]


def live_router(
    metrics: Callable[[], Awaitable[Collector]], guard: KeyGuard | None, is_ending: Callable[[], bool]
) -> APIRouter:
    """The route of the feed.

    Args:
        metrics, is_ending: see ``LiveFeed``.
        guard: as that of ``/metrics``, of which it is a part.
    """
    feed = LiveFeed(metrics, is_ending)
    router = APIRouter(dependencies=[] if guard is None else [Depends(guard)])

    @router.get("/playground/live", include_in_schema=False)
    async def live(request: Request) -> Response:
        headers = {"cache-control": "no-cache", "x-accel-buffering": "no"}  # nginx would keep events back
        if HEAD in request.scope:
            return Response(media_type="text/event-stream", headers=headers)
        return StreamingResponse(feed.listen(), media_type="text/event-stream", headers=headers)

    return router
