"""Answers inference requests, as the ASGI callable in front of FastAPI or straight from the connection."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from app.edge import wire
from app.edge.body import ClientLeft, read_body, too_large
from app.edge.compression import COMPRESS_FROM_BYTES, accepted_encoding, compress, inflate
from app.edge.exchange import Exchange, Heads, read_heads
from app.edge.generate import EVENT_STREAM, event, events, parse_generate, print_text
from app.edge.json_tensor import JsonReader
from app.edge.respond import (
    Header,
    Receive,
    Reply,
    Scope,
    Send,
    error_body,
    error_reply,
    send_reply,
    status_of,
    wrong_verb,
)
from app.edge.routes import V1_VERBS, Route, canonical, match
from app.edge.watch import DisconnectWatch, Watched
from app.errors import InvalidInput, ServingError, Unavailable
from app.repository.scan import version_number
from app.runtime.warmup import Clock
from app.serving.generation import generate
from app.serving.model import LoadedModel
from app.serving.predictor import predict
from app.serving.registry import Registry
from app.serving.rollout import Rollout
from app.serving.work import Timings

log = logging.getLogger("atelier.edge")

ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]

# Larger replies are compressed in a worker thread.
COMPRESS_INLINE_BYTES = 16_384
CLIENT_CLOSED_REQUEST = 499


class RequestObserver(Protocol):
    """Is told of every finished inference request; ``telemetry.metrics`` implements it."""

    def request_done(
        self, *, model: LoadedModel | None, protocol: str, code: int, seconds: float, timings: Timings
    ) -> None:
        """A reply went out; ``model`` is None when the path named none that serves."""
        ...


@dataclass(frozen=True, slots=True)
class EdgeLimits:
    """What a request may be, from the settings."""

    body_limit_bytes: int
    json_fallback_limit_bytes: int


@dataclass(slots=True)
class Incoming:
    """An inference request as it comes in.

    Attributes:
        route: from its path.
        headers: names in lower case.
        query: after the question mark.
        body: all of it; None if it is still to be read from ``receive``.
        receive: ASGI; also tells that the client left. None if the caller cancels the answer itself then.
        send: ASGI, for replies that come in parts.
    """

    route: Route
    headers: list[Header]
    query: bytes
    body: bytes | None = None
    receive: Receive | None = None
    send: Send | None = None


class Dispatch:
    """Answers inference requests.

    Args:
        registry: finds the model version.
        limits: on bodies.
        observer: is told of every request.
        clock: monotonic seconds.
    """

    def __init__(self, *, registry: Registry, limits: EdgeLimits, observer: RequestObserver, clock: Clock) -> None:
        self._registry = registry
        self._limits = limits
        self._observer = observer
        self._clock = clock
        self._reader = JsonReader(fallback_limit_bytes=limits.json_fallback_limit_bytes)
        self._watch = DisconnectWatch()

    async def __call__(self, scope: Scope, receive: Receive, send: Send, fallback: ASGIApp) -> None:
        """Answer an inference request; hand anything else to ``fallback``."""
        if scope["type"] != "http":
            await fallback(scope, receive, send)
        elif (route := match(scope["path"])) is None:
            path = canonical(scope["path"])
            await fallback(scope if path == scope["path"] else {**scope, "path": path}, receive, send)
        elif scope["method"] != "POST":
            await send_reply(wrong_verb("POST"), send)
        elif route.api == "v1" and route.verb not in V1_VERBS:
            await send_reply(error_reply(_malformed(scope)), send)
        else:
            incoming = Incoming(route, scope["headers"], scope["query_string"], receive=receive, send=send)
            reply = await self.answer(incoming)
            if reply is not None:
                await send_reply(reply, send)

    async def answer(self, incoming: Incoming) -> Reply | None:
        """The reply to an inference request; None if it is sent already or nobody waits for it any more."""
        start = self._clock()
        route = incoming.route
        timings = Timings()
        model: LoadedModel | None = None
        rollout: Rollout | None = None
        code = 500
        try:
            version = None if route.version is None else version_number(route.version)
            model = self._registry.get(route.name, version, route.label)
            if version is None and route.label is None:
                rollout = self._registry.rollout(route.name)
                if rollout is not None and rollout.splits:
                    model = rollout.choose(await self._key(incoming, rollout.sticky_header))
            with model.leases:
                model.admission.check_open()
                if route.verb == "generate_stream":
                    code = await self._stream(model, incoming, timings)
                    return None
                if route.verb == "generate":
                    reply = await self._generate(model, incoming, timings)
                else:
                    reply = await self._infer(model, incoming, timings, rollout)
            reply.headers = (*reply.headers, _server_timing(timings))
        except ServingError as error:
            reply = error_reply(error)
            code = reply.status
            if code >= 500 and not isinstance(error, Unavailable):
                log.error("%s of model %s failed with %d: %s", route.verb, route.name, code, error.message)
            else:
                log.debug("%s of model %s refused with %d: %s", route.verb, route.name, code, error.message)
        except (ClientLeft, asyncio.CancelledError):
            code = CLIENT_CLOSED_REQUEST
            return None
        except Exception:
            log.exception("%s of model %s failed", route.verb, route.name)
            reply = Reply(500, error_body("internal error; see the service's log"))
        else:
            code = reply.status
        finally:
            if rollout is not None and model is not None:
                rollout.answered(model, code)
            self._observer.request_done(
                model=model, protocol=route.protocol, code=code, seconds=self._clock() - start, timings=timings
            )
        return reply

    async def _key(self, incoming: Incoming, header: str | None) -> bytes:
        """What decides whether a request goes to the canary: the value of the header, or else the whole body."""
        if header is not None:
            wanted = header.encode("latin-1", "replace")
            for name, value in incoming.headers:
                if name == wanted:
                    return value
        if incoming.body is None:
            assert incoming.receive is not None
            heads = read_heads(incoming.headers)
            incoming.body = await read_body(
                incoming.receive, content_length=heads.content_length, limit_bytes=self._limits.body_limit_bytes
            )
        return incoming.body

    async def _infer(self, model: LoadedModel, incoming: Incoming, timings: Timings, rollout: Rollout | None) -> Reply:
        """Read, decode, predict, encode."""
        heads = read_heads(incoming.headers)
        began = self._clock()
        body = await self._read(heads, incoming)
        have_body = self._clock()
        route = incoming.route
        request = wire.Request(route, heads, incoming.query, body, wire.kind_of(route, heads, body, model))
        if request.is_small:
            exchange = wire.parse(request, model, self._reader)
        else:
            exchange = await self._parse_aside(request, model)
        decoded = self._clock()
        timings.read, timings.decode = have_body - began, decoded - have_body

        watched = self._watched(incoming)
        try:
            prediction = await predict(model, exchange.inputs, exchange.options, clock=self._clock)
        finally:
            if watched is not None:
                watched.stop()
        timings.queue, timings.compute = prediction.queue_s, prediction.compute_s
        if rollout is not None and model is rollout.stable:
            rollout.copy(exchange.inputs, prediction)

        answered = self._clock()
        reply = exchange.reply(prediction.outputs)
        if heads.accept_encoding and len(reply.body) >= COMPRESS_FROM_BYTES:
            reply = await _compressed(reply, heads.accept_encoding)
        timings.encode = self._clock() - answered
        return reply

    def _watched(self, incoming: Incoming) -> Watched | None:
        return None if incoming.receive is None else self._watch.watch(incoming.receive)

    async def _generate(self, model: LoadedModel, incoming: Incoming, timings: Timings) -> Reply:
        """Read, decode, generate all of the text, encode."""
        pieces = await self._pieces(model, incoming, timings)
        watched = self._watched(incoming)
        try:
            return print_text("".join([piece async for piece in pieces]), model)
        finally:
            if watched is not None:
                watched.stop()

    async def _stream(self, model: LoadedModel, incoming: Incoming, timings: Timings) -> int:
        """Send the text in events as it is generated; the status code, which the first event decides."""
        assert incoming.send is not None
        send = incoming.send
        pieces = await self._pieces(model, incoming, timings)
        watched = self._watched(incoming)
        started = False
        try:
            async for data in events(pieces, model):
                if not started:
                    await send({"type": "http.response.start", "status": 200, "headers": [*EVENT_STREAM]})
                    started = True
                await send({"type": "http.response.body", "body": data, "more_body": True})
        except ServingError as error:
            if not started:
                raise
            log.warning("generate_stream of model %s ended early: %s", model.name, error.message)
            await send({"type": "http.response.body", "body": event(error_body(error.message))})
            return status_of(error)
        finally:
            if watched is not None:
                watched.stop()
        if not started:  # nothing to say: the text ends where it begins
            await send({"type": "http.response.start", "status": 200, "headers": [*EVENT_STREAM]})
        await send({"type": "http.response.body", "body": b""})
        return 200

    async def _pieces(self, model: LoadedModel, incoming: Incoming, timings: Timings) -> AsyncIterator[str]:
        """Read and decode a generate request; the pieces of its text, still to be generated."""
        heads = read_heads(incoming.headers)
        began = self._clock()
        body = await self._read(heads, incoming)
        have_body = self._clock()
        if len(body) <= wire.INLINE_BYTES["text"]:
            text, sampling, options = parse_generate(body, self._reader)
        else:
            reader = JsonReader(fallback_limit_bytes=self._limits.json_fallback_limit_bytes)
            text, sampling, options = await asyncio.to_thread(parse_generate, body, reader)
        timings.read, timings.decode = have_body - began, self._clock() - have_body
        return generate(model, text, sampling, options, timings, clock=self._clock)

    async def _read(self, heads: Heads, incoming: Incoming) -> bytes:
        limit, body = self._limits.body_limit_bytes, incoming.body
        if body is None:
            assert incoming.receive is not None
            body = await read_body(incoming.receive, content_length=heads.content_length, limit_bytes=limit)
        elif len(body) > limit:
            raise too_large(len(body), limit)
        return inflate(body, heads.content_encoding, limit_bytes=limit) if heads.content_encoding else body

    async def _parse_aside(self, request: wire.Request, model: LoadedModel) -> Exchange:
        """In a worker thread, with a parser of its own."""
        reader = JsonReader(fallback_limit_bytes=self._limits.json_fallback_limit_bytes)
        return await asyncio.get_running_loop().run_in_executor(None, wire.parse, request, model, reader)


async def _compressed(reply: Reply, accept_encoding: str) -> Reply:
    """The reply as the client likes it best."""
    encoding = accepted_encoding(accept_encoding)
    if encoding is None:
        return reply
    if len(reply.body) <= COMPRESS_INLINE_BYTES:
        return compress(reply, encoding)
    return await asyncio.get_running_loop().run_in_executor(None, compress, reply, encoding)


def _malformed(scope: Scope) -> InvalidInput:
    """In TensorFlow Serving's words, and what to write instead."""
    verbs = " or :".join(V1_VERBS)
    return InvalidInput(f"Malformed request: {scope['method']} {scope['path']}; use :{verbs}")


def _server_timing(timings: Timings) -> Header:
    """Seconds per stage as the Server-Timing header, in milliseconds. Source: W3C Server Timing."""
    value = b"read;dur=%.3f, decode;dur=%.3f, queue;dur=%.3f, compute;dur=%.3f, encode;dur=%.3f" % (
        timings.read * 1e3,
        timings.decode * 1e3,
        timings.queue * 1e3,
        timings.compute * 1e3,
        timings.encode * 1e3,
    )
    return (b"server-timing", value)
