"""The ASGI application: FastAPI, with the short path for inference requests in front of it."""

from functools import partial
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI
from starlette.types import Message, Receive, Scope, Send

from app.api.documentation import add_inference_routes
from app.control.administration import AdminRule, RepositoryCommands
from app.control.api_keys import ApiKeys
from app.control.describe import TotalStatistics
from app.control.feedback import FeedbackDesk
from app.edge.codec.decode_pool import DecodePool
from app.edge.connection.limits import Connections
from app.edge.entry.door import Door
from app.edge.entry.probes import Probes
from app.edge.http.body_decoding import BodyDecoding
from app.edge.http.dispatch import Dispatch
from app.edge.shared_memory.regions import Closed, Regions
from app.errors import CannotListen
from app.lifecycle.draining import fail_unfinished
from app.lifecycle.lifecycle import Lifecycle
from app.lifecycle.registry import Registry
from app.recording.recordings import Recordings
from app.telemetry.metrics import Metrics

if TYPE_CHECKING:
    from app.edge.grpc.server import GrpcServer


class Atelier(FastAPI):
    """A FastAPI application whose inference paths are answered before FastAPI sees them."""

    registry: Registry
    lifecycle: Lifecycle
    door: Door
    dispatch: Dispatch
    probes: Probes
    admin: AdminRule
    keys: ApiKeys | None = None
    decoding: BodyDecoding
    memory: Regions | Closed
    decode_pool: DecodePool
    connections: Connections
    recordings: Recordings
    feedback: FeedbackDesk
    metrics: Metrics
    # Commands (load, unload, promote, roll back) and all counts: of this process or, with workers, of all.
    commands: RepositoryCommands
    total: TotalStatistics
    grpc: "GrpcServer | None" = None
    # Why the application did not start, if the cause is not a bug.
    startup_error: CannotListen | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] == "lifespan":
            send = partial(self._send_reason, send)
        elif scope["type"] == "http" and scope["method"] == "HEAD":
            scope, send = {**scope, "method": "GET"}, partial(_without_body, send)
        await self.dispatch(scope, receive, send, super().__call__)

    def fail_unfinished(self) -> None:
        """Answer every request that is decoded, waits or runs with Draining: the shutdown time is over."""
        self.decode_pool.fail_unfinished()
        fail_unfinished(self.registry)

    async def _send_reason(self, send: Send, message: Message) -> None:
        """Starlette sends the traceback of a failed start; an address in use is reported in one sentence instead."""
        if message["type"] == "lifespan.startup.failed" and self.startup_error is not None:
            message["message"] = self.startup_error.message
        await send(message)

    def openapi(self) -> dict[str, Any]:
        """FastAPI's document with the inference routes added."""
        if self.openapi_schema is None:
            add_inference_routes(super().openapi())
        return super().openapi()


async def _without_body(send: Send, message: Message) -> None:
    """Answer HEAD like GET, with its Content-Length but without its body: RFC 9110, 9.3.2."""
    await send({**message, "body": b""} if message["type"] == "http.response.body" else message)
