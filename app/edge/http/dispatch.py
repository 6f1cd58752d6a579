"""Answers inference requests, as the ASGI callable in front of FastAPI or straight from the connection."""

import asyncio
import logging

from app.batching.work import Timings
from app.control.peer import scope_peer
from app.edge.entry.door import Door, Visit, replying
from app.edge.http.body import ClientLeft
from app.edge.http.body_decoding import BodyDecoding
from app.edge.http.compression import COMPRESS_FROM_BYTES, accepted_encoding, compress
from app.edge.http.disconnects import DisconnectWatch
from app.edge.http.early_refusals import EarlyRefusals
from app.edge.http.generation import TextAnswers
from app.edge.http.incoming import EdgeLimits, Incoming
from app.edge.observer import RequestObserver
from app.edge.respond import (
    ASGIApp,
    Header,
    Receive,
    Reply,
    Scope,
    Send,
    error_body,
    error_reply,
    is_fault,
    send_reply,
    wrong_verb,
)
from app.edge.rest.routes import V1_VERBS, Route, canonical, match
from app.errors import InvalidInput, ServingError
from app.lifecycle.registry import Registry
from app.loaded import LoadedModel
from app.repository.scan import version_number
from app.rollout.canary import Rollout
from app.serving.predictor import predict
from app.types import Clock

log = logging.getLogger("atelier.edge")

# Larger replies are compressed in a worker thread.
COMPRESS_INLINE_BYTES = 16_384
CLIENT_CLOSED_REQUEST = 499


class Dispatch:
    """Answers inference requests.

    Args:
        door: what every request passes first.
        registry: finds the model version.
        limits: on bodies.
        decoding: from bodies to tensors.
        observer: is told of every request.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        *,
        door: Door,
        registry: Registry,
        limits: EdgeLimits,
        decoding: BodyDecoding,
        observer: RequestObserver,
        clock: Clock,
    ) -> None:
        self._door = door
        self._registry = registry
        self._limits = limits
        self._observer = observer
        self._clock = clock
        self._decoding = decoding
        self.refusals = EarlyRefusals(registry=registry, observer=observer, clock=clock)
        self._watch = DisconnectWatch()
        self._texts = TextAnswers(limits=limits, decoding=decoding, watch=self._watch, clock=clock)

    async def __call__(self, scope: Scope, receive: Receive, send: Send, fallback: ASGIApp) -> None:
        """Answer an inference request; hand anything else to ``fallback``."""
        if scope["type"] != "http":
            await fallback(scope, receive, send)
        elif (route := match(scope["path"])) is None:
            path = canonical(scope["path"])
            scope = scope if path == scope["path"] else {**scope, "path": path}
            await self._door.pass_through(scope, receive, send, fallback)
        elif scope["method"] != "POST":
            await self._door.pass_through(scope, receive, send, replying(wrong_verb("POST")))
        elif route.api == "v1" and route.verb not in V1_VERBS:
            await self._door.pass_through(scope, receive, send, replying(error_reply(_malformed(scope))))
        else:
            began = scope.get("state", {}).get("began_at")
            incoming = Incoming(
                route,
                scope["headers"],
                scope["query_string"],
                self._door.visit(scope["headers"], scope_peer(scope)),
                receive=receive,
                send=send,
                began=began,
            )
            reply = await self.answer(incoming)
            if reply is not None:
                await send_reply(reply, send)

    async def answer(self, incoming: Incoming) -> Reply | None:
        """The reply to an inference request; None if it is sent already or nobody waits for it any more."""
        start = incoming.began = self._clock() if incoming.began is None else incoming.began
        route, visit = incoming.route, incoming.visit
        timings = Timings()
        model: LoadedModel | None = None
        rollout: Rollout | None = None
        code = 500
        reply: Reply | None = None
        try:
            if not visit.is_admitted:
                self._door.admit(visit)
            version = None if route.version is None else version_number(route.version)
            model = self._registry.get(route.name, version, route.label)
            if version is None and route.label is None:
                rollout = self._registry.rollout(route.name)
                if rollout is not None and rollout.splits:
                    key = await incoming.rollout_key(rollout.sticky_header, self._limits)
                    model = self._registry.get(route.name)  # while the body came in, versions may have changed
                    rollout = self._registry.rollout(route.name)
                    if rollout is not None:
                        model = rollout.choose(key)
            with model.leases:
                self._check_open(model, incoming, start)
                if route.verb == "generate_stream":
                    code = await self._texts.stream(model, incoming, timings)
                    return None
                if route.verb == "generate":
                    reply = await self._texts.whole(model, incoming, timings)
                else:
                    reply = await self._infer(model, incoming, timings, rollout)
            reply.headers = (*reply.headers, _server_timing(timings))
        except ServingError as error:
            reply = error_reply(error)
            code = reply.status
            _log_refusal(error, code, route, visit)
        except (ClientLeft, asyncio.CancelledError):
            code = CLIENT_CLOSED_REQUEST
            return None
        except Exception:
            log.exception("%s of model %s failed", route.verb, route.name, extra=visit.log_fields)
            reply = Reply(500, error_body("internal error; see the service's log"))
        else:
            code = reply.status
        finally:
            if rollout is not None and model is not None:
                rollout.answered(model, code)
            self._observer.request_done(
                model=model, protocol=route.protocol, code=code, seconds=self._clock() - start, timings=timings
            )
            if self._door.access_log is not None:
                self._log_access(incoming, model, code, reply)
        reply.headers = (*reply.headers, *visit.headers)
        return reply

    def _log_access(self, incoming: Incoming, model: LoadedModel | None, code: int, reply: Reply | None) -> None:
        """Log an inference request. Of one that was answered in parts, the bytes are not known."""
        access_log, visit, route = self._door.access_log, incoming.visit, incoming.route
        if access_log is not None and access_log.takes(code):
            assert incoming.began is not None
            access_log.write(
                request_id=visit.request_id.decode(),
                client=visit.peer.client,
                key=visit.key,
                protocol=route.protocol,
                model=route.name,
                version=None if model is None else model.version,
                code=code,
                bytes=None if reply is None else len(reply.body),
                ms=round(1e3 * (self._clock() - incoming.began), 3),
            )

    def _check_open(self, model: LoadedModel, incoming: Incoming, start: float) -> None:
        """Refuse before anything is read or decoded what cannot be admitted."""
        if not model.admission.rows:
            model.admission.check_open()
            return
        if incoming.may_state_options:
            model.batcher.check_open()
            return
        left_s = start + model.default_timeout_s - self._clock()
        model.batcher.check_open(level=model.batcher.rules.default_priority_level, left_s=left_s)

    async def _infer(self, model: LoadedModel, incoming: Incoming, timings: Timings, rollout: Rollout | None) -> Reply:
        """Read, decode, predict, encode."""
        assert incoming.began is not None
        heads, body = await incoming.read(self._limits)
        have_body = self._clock()
        watched = incoming.watched(self._watch)
        try:
            exchange, inputs = await self._decoding.exchange(incoming, heads, body, model)
            decoded = self._clock()
            timings.read, timings.decode = have_body - incoming.began, decoded - have_body
            prediction = await predict(model, inputs, exchange.options, clock=self._clock, began=incoming.began)
        finally:
            if watched is not None:
                watched.stop()
        timings.queue, timings.compute = prediction.queue_s, prediction.compute_s
        if rollout is not None and model is rollout.stable:
            rollout.copy(inputs, prediction)

        answered = self._clock()
        reply = await self._decoding.printed(
            exchange.reply, prediction.outputs, model, exchange.options, began=incoming.began
        )
        if heads.accept_encoding and len(reply.body) >= COMPRESS_FROM_BYTES:
            reply = await _compressed(reply, heads.accept_encoding)
        timings.encode = self._clock() - answered
        return reply


def _log_refusal(error: ServingError, code: int, route: Route, visit: Visit) -> None:
    """A fault of ours as an error, anything else for whoever looks closely."""
    level, word = (logging.ERROR, "failed") if is_fault(error) else (logging.DEBUG, "refused")
    if log.isEnabledFor(level):
        text = "%s of model %s %s with %d: %s"
        log.log(level, text, route.verb, route.name, word, code, error.message, extra=visit.log_fields)


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
