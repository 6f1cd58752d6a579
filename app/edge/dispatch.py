"""The ASGI callable in front of FastAPI: inference paths are answered here, everything else goes on."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from app.edge import wire
from app.edge.body import ClientLeft, read_body
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
from app.edge.watch import DisconnectWatch
from app.errors import InvalidInput, ServingError, Unavailable
from app.repository.scan import version_number
from app.runtime.warmup import Clock
from app.serving.generation import generate
from app.serving.model import LoadedModel
from app.serving.predictor import predict
from app.serving.registry import Registry
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
            await self._answer(route, scope, receive, send)

    async def _answer(self, route: Route, scope: Scope, receive: Receive, send: Send) -> None:
        start = self._clock()
        timings = Timings()
        model: LoadedModel | None = None
        code = 500
        try:
            version = None if route.version is None else version_number(route.version)
            model = self._registry.get(route.name, version, route.label)
            with model.leases:
                model.admission.check_open()
                if route.verb == "generate_stream":
                    code = await self._stream(model, scope, receive, send, timings)
                    return
                if route.verb == "generate":
                    reply = await self._generate(model, scope, receive, timings)
                else:
                    reply = await self._infer(route, model, scope, receive, timings)
            code = reply.status
            await send_reply(reply, send, (_server_timing(timings),))
        except ServingError as error:
            reply = error_reply(error)
            code = reply.status
            if code >= 500 and not isinstance(error, Unavailable):
                log.error("%s of model %s failed with %d: %s", route.verb, route.name, code, error.message)
            else:
                log.debug("%s of model %s refused with %d: %s", route.verb, route.name, code, error.message)
            await send_reply(reply, send)
        except (ClientLeft, asyncio.CancelledError):
            code = CLIENT_CLOSED_REQUEST
        except Exception:
            log.exception("%s of model %s failed", route.verb, route.name)
            await send_reply(Reply(500, error_body("internal error; see the service's log")), send)
        finally:
            self._observer.request_done(
                model=model, protocol=route.protocol, code=code, seconds=self._clock() - start, timings=timings
            )

    async def _infer(self, route: Route, model: LoadedModel, scope: Scope, receive: Receive, timings: Timings) -> Reply:
        """Read, decode, predict, encode."""
        heads = read_heads(scope)
        began = self._clock()
        body = await self._read(heads, receive)
        have_body = self._clock()
        request = wire.Request(route, heads, scope["query_string"], body, wire.kind_of(route, heads, body, model))
        if request.is_small:
            exchange = wire.parse(request, model, self._reader)
        else:
            exchange = await self._parse_aside(request, model)
        decoded = self._clock()
        timings.read, timings.decode = have_body - began, decoded - have_body

        watched = self._watch.watch(receive)
        try:
            prediction = await predict(model, exchange.inputs, exchange.options, clock=self._clock)
        finally:
            watched.stop()
        timings.queue, timings.compute = prediction.queue_s, prediction.compute_s

        answered = self._clock()
        reply = exchange.reply(prediction.outputs)
        if heads.accept_encoding and len(reply.body) >= COMPRESS_FROM_BYTES:
            reply = await _compressed(reply, heads.accept_encoding)
        timings.encode = self._clock() - answered
        return reply

    async def _generate(self, model: LoadedModel, scope: Scope, receive: Receive, timings: Timings) -> Reply:
        """Read, decode, generate all of the text, encode."""
        pieces = await self._pieces(model, scope, receive, timings)
        watched = self._watch.watch(receive)
        try:
            return print_text("".join([piece async for piece in pieces]), model)
        finally:
            watched.stop()

    async def _stream(self, model: LoadedModel, scope: Scope, receive: Receive, send: Send, timings: Timings) -> int:
        """Send the text in events as it is generated; the status code, which the first event decides."""
        pieces = await self._pieces(model, scope, receive, timings)
        watched = self._watch.watch(receive)
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
            watched.stop()
        if not started:  # nothing to say: the text ends where it begins
            await send({"type": "http.response.start", "status": 200, "headers": [*EVENT_STREAM]})
        await send({"type": "http.response.body", "body": b""})
        return 200

    async def _pieces(self, model: LoadedModel, scope: Scope, receive: Receive, timings: Timings) -> AsyncIterator[str]:
        """Read and decode a generate request; the pieces of its text, still to be generated."""
        heads = read_heads(scope)
        began = self._clock()
        body = await self._read(heads, receive)
        have_body = self._clock()
        if len(body) <= wire.INLINE_BYTES["text"]:
            text, sampling, options = parse_generate(body, self._reader)
        else:
            reader = JsonReader(fallback_limit_bytes=self._limits.json_fallback_limit_bytes)
            text, sampling, options = await asyncio.to_thread(parse_generate, body, reader)
        timings.read, timings.decode = have_body - began, self._clock() - have_body
        return generate(model, text, sampling, options, timings, clock=self._clock)

    async def _read(self, heads: Heads, receive: Receive) -> bytes:
        limit = self._limits.body_limit_bytes
        body = await read_body(receive, content_length=heads.content_length, limit_bytes=limit)
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
