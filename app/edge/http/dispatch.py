"""Answers inference requests over HTTP, as the ASGI callable in front of FastAPI or directly from the connection."""

import asyncio

from app.batching.work import DEFAULT_OPTIONS, RequestOptions, Timings
from app.control.peer import scope_peer
from app.edge.accounting import Caller
from app.edge.answering import Answering, ClientLeft
from app.edge.call import Route
from app.edge.codec.encoded import is_decoded
from app.edge.entry.door import Door, replying
from app.edge.entry.trace_context import HEADER as TRACE
from app.edge.entry.trace_context import RESPONSE
from app.edge.http.body import BodyLimits, read_body, too_large
from app.edge.http.body_decoding import BodyDecoding
from app.edge.http.compression import accepted_encoding, compress
from app.edge.http.disconnects import DisconnectWatch
from app.edge.http.early_refusals import EarlyRefusals
from app.edge.http.explain_answers import ExplainAnswers
from app.edge.http.text_answers import TextAnswers
from app.edge.joint.arrivals import Arrivals
from app.edge.joint.joining import Joining
from app.edge.observer import RequestObserver
from app.edge.respond import (
    COMPRESS_FROM_BYTES,
    ASGIApp,
    Receive,
    Reply,
    Scope,
    Send,
    error_body,
    error_reply,
    malformed,
    send_reply,
    server_timing,
    wrong_verb,
)
from app.edge.rest.explain import ExplainRequest
from app.edge.rest.request import HttpRequest
from app.edge.rest.routes import EXPLAIN, FEEDBACK, V1_VERBS, V2_VERBS, canonical, match
from app.edge.tracer import RequestTrace, RequestTracer
from app.errors import InvalidInput, ServingError
from app.explain.explainer import Explainer
from app.lifecycle.registry import Registry
from app.loaded import LoadedModel
from app.serving.generation import generates_text
from app.types import Clock

# Larger replies are compressed in a worker thread.
COMPRESS_INLINE_BYTES = 16_384


class Dispatch(Answering[HttpRequest, Reply]):
    """Answers inference requests over HTTP.

    Args:
        door: checks every request first; has the access log.
        registry: finds the model version.
        limits: on bodies.
        decoding: from bodies to tensors.
        explainer: explains answers.
        observer: records every request.
        clock: monotonic seconds.
        tracer: see ``Answering``.
    """

    def __init__(
        self,
        *,
        door: Door,
        registry: Registry,
        limits: BodyLimits,
        decoding: BodyDecoding,
        explainer: Explainer,
        observer: RequestObserver,
        clock: Clock,
        tracer: RequestTracer | None = None,
    ) -> None:
        super().__init__(
            registry=registry,
            decoding=decoding,
            observer=observer,
            access_log=door.access_log,
            clock=clock,
            tracer=tracer,
        )
        self._door = door
        self._limits = limits
        self._bodies = decoding
        self.refusals = EarlyRefusals(registry=registry, observer=observer, clock=clock)
        self.arrivals = Arrivals(clock)
        self.joining = Joining(observer=observer, arrivals=self.arrivals, clock=clock)
        self._watch = DisconnectWatch()
        self._explanations = ExplainAnswers(explainer=explainer, watch=self._watch, clock=clock)
        self._texts = TextAnswers(decoding=decoding, watch=self._watch, recorded=self.recorded_text, clock=clock)

    async def __call__(self, scope: Scope, receive: Receive, send: Send, fallback: ASGIApp) -> None:
        """Answer an inference request; pass any other request to ``fallback``."""
        if scope["type"] != "http":
            await fallback(scope, receive, send)
        elif (route := match(scope["path"])) is None or _is_feedback(scope, route):
            path = canonical(scope["path"])
            scope = scope if path == scope["path"] else {**scope, "path": path}
            await self._door.pass_through(scope, receive, send, fallback)
        elif scope["method"] != "POST":
            await self._door.pass_through(scope, receive, send, replying(wrong_verb("POST")))
        elif route.api == "v1" and route.verb not in V1_VERBS and route.verb != EXPLAIN:
            await self._door.pass_through(scope, receive, send, replying(error_reply(_malformed(scope, route))))
        else:
            state = scope.get("state", {})
            began, visit = state.get("began_at"), state.get("visit")
            request = HttpRequest(
                route=route,
                began=self._clock() if began is None else began,
                headers=scope["headers"],
                query=scope["query_string"],
                visit=visit or self._door.visit(scope["headers"], scope_peer(scope)),
                receive=receive,
                send=send,
            )
            try:
                reply = await self.answer(request)
            except (ClientLeft, asyncio.CancelledError):
                return
            if reply is not None:
                reply.headers = (*reply.headers, *request.visit.headers)
                await send_reply(reply, send)

    def admit(self, call: HttpRequest) -> None:
        """See ``Door.admit``; the connection may have called it already."""
        if not call.visit.is_admitted:
            self._door.admit(call.visit)

    async def read(self, call: HttpRequest) -> None:
        """Read the body. Raises what ``read_headers`` and ``read_body`` raise."""
        call.read_headers()
        assert call.receive is not None
        call.body = await read_body(
            call.receive, content_length=call.content_length, limit_bytes=self._limits.body_limit_bytes
        )

    def rollout_key(self, call: HttpRequest, header: str | None) -> bytes:
        """The value of the header, or else the whole body."""
        if header is not None:
            field = header.encode("latin-1", "replace")
            for name, value in call.headers:
                if name == field:
                    return value
        assert call.body is not None
        return call.body

    def options(self, call: HttpRequest, model: LoadedModel) -> RequestOptions | None:
        """None if the body may state some."""
        return None if call.may_state_options else DEFAULT_OPTIONS

    def refused(self, call: HttpRequest, error: ServingError | None) -> Reply:
        """The standard form of errors."""
        if error is None:
            return Reply(500, error_body("internal error; see the service's log"))
        return error_reply(error)

    def caller(self, call: HttpRequest) -> Caller:
        """The client, from the visit."""
        return Caller(call.visit.request_id.decode(), call.visit.peer.client, call.visit.key)

    def traceparent(self, call: HttpRequest) -> bytes | None:
        """The header, from the visit."""
        return call.visit.noted.get(TRACE)

    def traced(self, call: HttpRequest, trace: RequestTrace) -> None:
        """By a header of the reply."""
        call.visit.headers = (*call.visit.headers, (RESPONSE, trace.traceresponse))

    def size(self, reply: Reply) -> int | None:
        """Bytes of the body."""
        return len(reply.body)

    async def reply(self, call: HttpRequest, model: LoadedModel) -> Reply | None:
        """Decode, predict or generate, encode."""
        call.read_headers()
        assert call.body is not None
        if len(call.body) > self._limits.body_limit_bytes:
            raise too_large(len(call.body), self._limits.body_limit_bytes)
        call.timings.read = self._clock() - call.began
        call.explains = call.route.verb == EXPLAIN
        generates = not call.route.is_inference and not call.explains and generates_text(model)
        if generates and call.route.verb == "generate_stream":
            await self._texts.stream(call, call.body, model)
            return None
        if generates:
            reply = await self._texts.whole(call, call.body, model)
        else:
            have_body = self._clock()
            with self._watch.watching(call.receive):
                # Each coroutine costs half a microsecond: cheap steps are not coroutines.
                request = self._bodies.parsed_at_once(call, call.body, model)
                if request is None:
                    request, inputs = await self._bodies.decoded(call, call.body, model)
                elif is_decoded(request.inputs):
                    inputs = request.inputs
                else:
                    answering = request.model or model
                    inputs = await self._bodies.tensors(request.inputs, answering, request.options, began=call.began)
                call.timings.decode = self._clock() - have_body
                if isinstance(request, ExplainRequest):
                    reply = await self._explanations.answer(call, request, inputs, request.model or model)
                else:
                    reply = await self.predicted(call, request, inputs, request.model or model)
            if call.accept_encoding and len(reply.body) >= COMPRESS_FROM_BYTES:
                reply = await _compressed(reply, call.accept_encoding, call.timings, self._clock)
        reply.headers = (*reply.headers, server_timing(call.timings))
        return reply


async def _compressed(reply: Reply, accept_encoding: str, timings: Timings, clock: Clock) -> Reply:
    """The reply in the encoding that the client prefers."""
    encoding = accepted_encoding(accept_encoding)
    if encoding is None:
        return reply
    began = clock()
    if len(reply.body) <= COMPRESS_INLINE_BYTES:
        reply = compress(reply, encoding)
    else:
        reply = await asyncio.get_running_loop().run_in_executor(None, compress, reply, encoding)
    timings.encode += clock() - began
    return reply


def _is_feedback(scope: Scope, route: Route) -> bool:
    return route.verb == FEEDBACK and scope["method"] == "POST" and route.version is None and route.label is None


def _malformed(scope: Scope, route: Route) -> InvalidInput:
    """The error for an unknown verb: the verbs of V1, or the path of one of V2."""
    rule = f"use :{' or :'.join((*V1_VERBS, EXPLAIN))}"
    if route.verb in V2_VERBS:
        rule = f"{route.verb} is at /v2/models/{route.name}/{route.verb}"
    return InvalidInput(malformed(scope["method"], scope["path"], rule))
