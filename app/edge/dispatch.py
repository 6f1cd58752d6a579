"""The ASGI callable in front of FastAPI: inference paths are answered here, everything else goes on."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import parse_qs

from app.edge import media, v1
from app.edge.body import ClientLeft, inflate, read_body
from app.edge.hints import how_to_send
from app.edge.json_tensor import JsonReader
from app.edge.respond import Header, Receive, Reply, Scope, Send, error_body, error_reply, send_reply, wrong_verb
from app.edge.routes import VERBS, Route, match
from app.errors import InvalidInput, NotFound, ServingError
from app.repository.scan import version_number
from app.runtime.backend import Array
from app.runtime.warmup import Clock
from app.serving.model import LoadedModel
from app.serving.predictor import predict
from app.serving.registry import Registry
from app.serving.work import Timings

log = logging.getLogger("atelier.edge")

ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]

# Watching for a client's disconnect costs a task, so only requests that take longer than this get one.
WATCH_AFTER_S = 0.005
DEFAULT_TOP_K = 10
# Larger bodies are decoded in a worker thread, so that one of them does not hold up everybody else's.
INLINE_BYTES = {"json": 65_536, "tensor": 65_536, "text": 16_384, "form": 16_384, "image": 4_096, "multipart": 4_096}
CLIENT_CLOSED_REQUEST = 499


class RequestObserver(Protocol):
    """Is told of every finished inference request; ``telemetry.metrics`` implements it."""

    def request_done(
        self, *, model: LoadedModel | None, verb: str, code: int, seconds: float, timings: Timings
    ) -> None:
        """A reply went out; ``model`` is None when the path named none that serves."""
        ...


@dataclass(frozen=True, slots=True)
class EdgeLimits:
    """What a request may be, from the settings."""

    body_limit_bytes: int
    json_fallback_limit_bytes: int


@dataclass(frozen=True, slots=True)
class Heads:
    """The request headers that inference reads."""

    content_type: str = ""
    content_encoding: str = ""
    content_length: int | None = None


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

    async def __call__(self, scope: Scope, receive: Receive, send: Send, fallback: ASGIApp) -> None:
        """Answer an inference request; hand anything else to ``fallback``."""
        route = match(scope["path"]) if scope["type"] == "http" else None
        if route is None:
            await fallback(scope, receive, send)
        elif scope["method"] != "POST":
            await send_reply(wrong_verb("POST"), send)
        elif route.verb not in VERBS:
            await send_reply(error_reply(NotFound(f"verb {route.verb!r} is unknown; use :{' or :'.join(VERBS)}")), send)
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
            model.admission.check_open()
            reply = await self._infer(route, model, scope, receive, timings)
            code = reply.status
            await send_reply(reply, send, (_server_timing(timings),))
        except ServingError as error:
            reply = error_reply(error)
            code = reply.status
            if code >= 500:
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
                model=model, verb=route.verb, code=code, seconds=self._clock() - start, timings=timings
            )

    async def _infer(self, route: Route, model: LoadedModel, scope: Scope, receive: Receive, timings: Timings) -> Reply:
        """Read, decode, predict, encode."""
        limit = self._limits.body_limit_bytes
        heads = _heads(scope)
        top_k = _top_k(scope) if route.verb == "classify" else 0
        began = self._clock()
        body = await read_body(receive, content_length=heads.content_length, limit_bytes=limit)
        if heads.content_encoding:
            body = inflate(body, heads.content_encoding, limit_bytes=limit)
        have_body = self._clock()
        kind = media.kind_of(heads.content_type, body, model)
        if len(body) <= INLINE_BYTES[kind]:
            inputs, layout = _decode(route, model, kind, heads, body, self._reader)
        else:
            reader = JsonReader(fallback_limit_bytes=self._limits.json_fallback_limit_bytes)
            loop = asyncio.get_running_loop()
            inputs, layout = await loop.run_in_executor(None, _decode, route, model, kind, heads, body, reader)
        decoded = self._clock()
        timings.read, timings.decode = have_body - began, decoded - have_body

        watch = _Watch(receive)
        try:
            prediction = await predict(model, inputs, clock=self._clock)
        finally:
            watch.stop()
        timings.queue, timings.compute = prediction.queue_s, prediction.compute_s

        answered = self._clock()
        if route.verb == "classify":
            labels = model.labels()
            scores = prediction.outputs[model.score_output()]
            payload = v1.print_classify(model.ranked(scores, top_k=min(top_k, len(labels))))
        else:
            payload = v1.print_predict(prediction.outputs, layout)
        timings.encode = self._clock() - answered
        return Reply(200, payload)


def _decode(
    route: Route, model: LoadedModel, kind: media.Kind, heads: Heads, body: bytes, reader: JsonReader
) -> tuple[dict[str, Array], v1.Layout]:
    """Tensors of a body of any kind."""
    if route.verb == "classify":
        model.labels()
    if not body:
        raise InvalidInput(f"body is empty; {how_to_send(model)}")
    if kind != "json":
        return media.parse_media(kind, heads.content_type, body, model), "row"
    document = reader.read(body)
    if route.verb == "predict":
        return v1.parse_predict(document, model)
    return v1.parse_classify(document, model), "row"


class _Watch:
    """Cancels the request's own task when its client disconnects while it is still being answered."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._owner = asyncio.current_task()
        self._task: asyncio.Task[None] | None = None
        self._timer = asyncio.get_running_loop().call_later(WATCH_AFTER_S, self._begin)

    def stop(self) -> None:
        self._timer.cancel()
        if self._task is not None:
            self._task.cancel()

    def _begin(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._until_disconnect())

    async def _until_disconnect(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        if self._owner is not None:
            self._owner.cancel()


def _heads(scope: Scope) -> Heads:
    content_type = content_encoding = ""
    content_length = None
    for name, value in scope["headers"]:
        if name == b"content-type":
            content_type = value.decode("latin-1")
        elif name == b"content-length":
            content_length = int(value)
        elif name == b"content-encoding":
            content_encoding = value.decode("latin-1").strip().lower()
    return Heads(content_type, content_encoding, content_length)


def _top_k(scope: Scope) -> int:
    """``?top_k=``: most labels a row of ``:classify`` answers with."""
    query = parse_qs(scope["query_string"].decode("latin-1"))
    text = query.get("top_k", [str(DEFAULT_TOP_K)])[-1]
    if not text.isascii() or not text.isdigit() or not int(text[:9]) >= 1:
        raise InvalidInput(f"top_k is {text!r}; send a whole number of at least 1")
    return int(text[:9])


def _server_timing(timings: Timings) -> Header:
    """Seconds per stage as the Server-Timing header, in milliseconds. Source: W3C Server Timing."""
    value = (
        f"read;dur={timings.read * 1e3:.3f}, decode;dur={timings.decode * 1e3:.3f}, "
        f"queue;dur={timings.queue * 1e3:.3f}, compute;dur={timings.compute * 1e3:.3f}, "
        f"encode;dur={timings.encode * 1e3:.3f}"
    )
    return (b"server-timing", value.encode())
