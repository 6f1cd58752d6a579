"""Plain calls of ``ModelInfer``, which are answered together: see ``edge.joint.joining``."""

import logging
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING

from grpc.aio import ServicerContext

from app.edge.grpc import inference_pb2 as pb
from app.edge.grpc.calls import Refusal
from app.edge.grpc.plain_messages import KnownMessages, PlainMessage
from app.edge.joint.arrivals import Arrivals
from app.edge.joint.joining import Joining
from app.edge.observer import RequestObserver
from app.edge.respond import Header, Reply
from app.errors import ServingError
from app.lifecycle.registry import Registry
from app.types import Clock

if TYPE_CHECKING:
    import asyncio

    from app.edge.joint.request import JointRequest

log = logging.getLogger("atelier.grpc")

Begin = Callable[[ServicerContext], str]
Infer = Callable[[pb.ModelInferRequest, ServicerContext, float], Awaitable[pb.ModelInferResponse]]


class PlainCall:
    """A call that is answered together with others: see ``edge.joint.request.Plain``.

    Args:
        message: of the call.
        began: monotonic seconds.
        start: starts the call, and returns its id.
        result: receives the reply, a refusal, or None if the call is to be answered by itself.
    """

    __slots__ = ("_message", "_result", "_start", "began", "is_waiting", "joint", "read_s")

    def __init__(
        self,
        message: PlainMessage,
        began: float,
        start: Callable[[], str],
        result: "asyncio.Future[bytes | Refusal | None]",
    ) -> None:
        self._message = message
        self._start = start
        self._result = result
        self.began = began
        self.read_s = 0.0
        self.is_waiting = True
        self.joint: JointRequest | None = None

    def head_of_reply(self, headers: tuple[Header, ...]) -> bytes:
        """A message has none."""
        return b""

    def reply(self, head: bytes, body: bytes) -> None:
        """Set the reply."""
        self._start()
        self._end(self._message.form.reply(self._message.request_id, body))

    def refuse(self, error: ServingError, reply: Reply) -> str:
        """Set the status; returns the request id."""
        self._end(Refusal.of(error))
        return self._start()

    def answer_alone(self) -> None:
        """Let the call be answered as one of any other form."""
        self._end(None)

    def leave(self) -> None:
        """The client no longer waits."""
        if self.is_waiting:
            self.is_waiting = False
            if self.joint is not None:
                self.joint.leave(self)

    def _end(self, result: bytes | Refusal | None) -> None:
        self.is_waiting = False
        if not self._result.done():
            self._result.set_result(result)


class JointCalls:
    """Answers ``ModelInfer``: plain calls together, others by themselves.

    Args:
        observer: records every plain call.
        registry: finds the version.
        begin: starts a call: see ``Methods.begin``.
        infer: answers a parsed request that arrived at a time in monotonic seconds.
        clock: monotonic seconds.
    """

    def __init__(
        self, *, observer: RequestObserver, registry: Registry, begin: Begin, infer: Infer, clock: Clock
    ) -> None:
        self._arrivals = Arrivals(clock)
        self._joining = Joining(observer=observer, arrivals=self._arrivals, clock=clock)
        self._registry = registry
        self._begin = begin
        self._infer = infer
        self._clock = clock
        self._known = KnownMessages()

    def begun(self) -> None:
        """A call has begun; its message is on the way."""
        self._arrivals.note()

    async def answer(
        self, data: bytes, context: ServicerContext, parse: Callable[[], Awaitable[pb.ModelInferRequest]]
    ) -> bytes | pb.ModelInferResponse:
        """The reply to a message; ``parse`` returns it parsed."""
        began = self._clock()
        self._arrivals.note()
        message = self._known.find(data)
        if message is not None and (plain := await self._answer_plain(message, context, began)) is not None:
            return plain
        request = await parse()
        reply = await self._infer(request, context, began)
        try:
            self._learn(data, request, reply)
        except Exception:
            log.exception("the form of a message to model %s cannot be remembered", request.model_name)
        return reply

    async def _answer_plain(self, message: PlainMessage, context: ServicerContext, began: float) -> bytes | None:
        """The reply to a plain message; None if it is to be answered by itself."""
        form = message.form
        model = self._registry.only(form.route.name)
        if model is None or form.model() is not model:
            return None
        left_s = context.time_remaining()
        if left_s is not None and left_s < model.default_timeout_s:
            return None
        if model.admission.rows:
            try:
                model.batcher.check_open(left_s=began + model.default_timeout_s - self._clock())
            except ServingError:  # refused as any other call
                return None
        result: asyncio.Future[bytes | Refusal | None] = model.batcher.loop.create_future()
        call = PlainCall(message, began, partial(self._begin, context), result)
        self._joining.add(call, message.rows, form, model, form.route)
        try:
            reply = await result
        finally:
            call.leave()
        if isinstance(reply, Refusal):
            await context.abort(*reply)
        assert not isinstance(reply, Refusal)
        return reply

    def _learn(self, data: bytes, request: pb.ModelInferRequest, reply: pb.ModelInferResponse) -> None:
        model = self._registry.only(request.model_name)
        if model is not None and reply.model_version == str(model.version):
            self._known.learn(data, request, model)
