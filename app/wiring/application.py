"""The ASGI application: inference requests, and FastAPI for all others."""

import traceback
from functools import partial
from typing import TYPE_CHECKING

from app.control.administration import AdminRule, RepositoryCommands
from app.control.api_keys import ApiKeys
from app.control.describe import TotalStatistics
from app.control.feedback import FeedbackDesk
from app.edge.codec.decode_pool import DecodePool
from app.edge.connection.limits import Connections
from app.edge.entry.door import HEAD, Door
from app.edge.entry.probes import Probes
from app.edge.http.body_decoding import BodyDecoding
from app.edge.http.dispatch import Dispatch
from app.edge.respond import Message, Receive, Scope, Send
from app.edge.shared_memory.regions import Closed, Regions
from app.errors import CannotListen
from app.explain.explainer import Explainer
from app.lifecycle.draining import fail_unfinished
from app.lifecycle.lifecycle import Lifecycle
from app.lifecycle.registry import Registry
from app.mirror.following import MirrorThread
from app.recording.recordings import Recordings
from app.telemetry.metrics import Metrics
from app.telemetry.tracing import Tracing
from app.wiring.late import LateApplication

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager

    from app.edge.grpc.server import GrpcServer


class Atelier:
    """Answers inference requests, and passes others to ``api``.

    Args:
        lifespan: what the service does while it runs.
    """

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
    explainer: Explainer
    tracing: Tracing | None = None
    # None if the models are on this machine.
    mirror: MirrorThread | None = None
    api: LateApplication
    # Commands (load, unload, promote, roll back) and all counts: of this process or, with workers, of all.
    commands: RepositoryCommands
    total: TotalStatistics
    grpc: "GrpcServer | None" = None
    # Why the application did not start, if the cause is not a bug.
    startup_error: CannotListen | None = None

    def __init__(self, lifespan: "Callable[[Atelier], AbstractAsyncContextManager[None]]") -> None:
        self.lifespan = lifespan

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        if scope["type"] == "http" and scope["method"] == "HEAD":
            scope, send = {**scope, "method": "GET", HEAD: True}, partial(_without_body, send)
        await self.dispatch(scope, receive, send, self.api)

    def fail_unfinished(self) -> None:
        """Answer every request that is decoded, waits or runs with Draining: the shutdown time is over."""
        self.decode_pool.fail_unfinished()
        fail_unfinished(self.registry)

    async def _live(self, receive: Receive, send: Send) -> None:
        """The lifespan, as ASGI states it: from the first message to the second."""
        await receive()
        phase = "startup"
        try:
            async with self.lifespan(self):
                await send({"type": "lifespan.startup.complete"})
                phase = "shutdown"
                await receive()
        except BaseException:
            # An address in use is reported in one sentence, a bug with its traceback.
            reason = traceback.format_exc() if self.startup_error is None else self.startup_error.message
            await send({"type": f"lifespan.{phase}.failed", "message": reason})
            raise
        await send({"type": "lifespan.shutdown.complete"})


async def _without_body(send: Send, message: Message) -> None:
    """Answer HEAD like GET, with its Content-Length but without its body: RFC 9110, 9.3.2."""
    await send({**message, "body": b""} if message["type"] == "http.response.body" else message)
