"""The path of an inference request through the service, the same for every protocol. Read the predictor first.

Plain requests take another path, ``app.edge.joint.joining``, unless they are answered alone.
"""

import asyncio
import logging
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from functools import partial
from typing import Generic, TypeVar

from app.batching.work import RequestOptions
from app.edge.accounting import Accounting, Caller
from app.edge.call import Call, InferenceRequest
from app.edge.codec.decoding import Decoding, is_small
from app.edge.codec.encoded import texts_of
from app.edge.entry.access_log import AccessLog
from app.edge.observer import RequestObserver
from app.edge.request_log import log_refusal, request_fields
from app.edge.respond import status_of
from app.edge.tracer import RequestTrace, RequestTracer
from app.errors import ServingError
from app.lifecycle.registry import Registry
from app.loaded import LoadedModel
from app.repository.scan import version_number
from app.serving.predictor import predict
from app.types import Clock, Tensors

log = logging.getLogger("atelier.edge")

CLIENT_CLOSED_REQUEST = 499

AnyCall = TypeVar("AnyCall", bound=Call)
AnyReply = TypeVar("AnyReply")


class ClientLeft(Exception):
    """The connection closed before the request was complete."""


class Answering(ABC, Generic[AnyCall, AnyReply]):
    """Answers inference requests. Each protocol defines how its requests are admitted, read, encoded and refused.

    Args:
        registry: finds the model version.
        decoding: from bodies or messages to tensors.
        observer: records every request.
        access_log: logs the answered requests; None: no access log.
        clock: monotonic seconds.
        tracer: traces some requests; None: none.
    """

    def __init__(
        self,
        *,
        registry: Registry,
        decoding: Decoding,
        observer: RequestObserver,
        access_log: AccessLog | None,
        clock: Clock,
        tracer: RequestTracer | None = None,
    ) -> None:
        self._registry = registry
        self._decoding = decoding
        self._accounting = Accounting(observer=observer, access_log=access_log, clock=clock)
        self._clock = clock
        self.tracer = tracer

    @abstractmethod
    def admit(self, call: AnyCall) -> None:
        """Raise a ServingError unless the caller may request inference."""

    @abstractmethod
    async def read(self, call: AnyCall) -> None:
        """Read the rest of a request; its headers are checked first."""

    @abstractmethod
    def rollout_key(self, call: AnyCall, header: str | None) -> bytes:
        """The bytes that decide whether the canary answers: the value of ``header``, or else the whole request."""

    @abstractmethod
    def options(self, call: AnyCall, model: LoadedModel) -> RequestOptions | None:
        """Priority and timeout of a request before it is decoded; None if they are not known yet."""

    @abstractmethod
    async def reply(self, call: AnyCall, model: LoadedModel) -> AnyReply | None:
        """Decode, predict, encode. Returns None if the reply was already sent."""

    @abstractmethod
    def refused(self, call: AnyCall, error: ServingError | None) -> AnyReply:
        """The reply to a failed request. ``error`` is None for an internal error, which only the log describes."""

    @abstractmethod
    def caller(self, call: AnyCall) -> Caller:
        """The client, for logs."""

    @abstractmethod
    def traceparent(self, call: AnyCall) -> bytes | None:
        """The field ``traceparent`` of a request; None without one."""

    def traced(self, call: AnyCall, trace: RequestTrace) -> None:
        """Tell the client of a traced request which span it has; by default not at all."""

    @abstractmethod
    def size(self, reply: AnyReply) -> int | None:
        """Body size of a reply in bytes, for the access log; None if it is not known."""

    async def answer(self, call: AnyCall) -> AnyReply | None:
        """The reply to a request, counted and logged; None if it was already sent.

        Raises:
            ClientLeft, CancelledError: the client no longer waits for the reply.
        """
        reply: AnyReply | None = None
        trace = None if self.tracer is None else self._begin_trace(self.tracer, call)
        try:
            self.admit(call)
            if self._registry.asleep.names:
                await self._wake(call)
            model, checked = self._find(call), None
            if not call.is_whole:  # the others are answered without another coroutine
                model, checked = await self._read(call, model)
            if call.rollout is not None and call.rollout.splits:
                call.model = model = call.rollout.choose(self.rollout_key(call, call.rollout.sticky_header))
            with model.leases:
                if checked is None or checked != _marks_of(model):
                    self._check_open(call, model)
                call.code = 200
                reply = await self.reply(call, model)
        except ServingError as error:
            call.code = status_of(error)
            log_refusal(call.route, error, call.code, self.caller(call).request_id, call.model)
            reply = self.refused(call, error)
        except (ClientLeft, asyncio.CancelledError):
            call.code = CLIENT_CLOSED_REQUEST
            raise
        except Exception:
            call.code = 500
            route = call.route
            fields = request_fields(self.caller(call).request_id, call.model)
            log.exception("%s of model %s failed", route.verb, route.name, extra=fields)
            reply = self.refused(call, None)
        finally:
            self._accounting.ended(
                call,
                trace,
                traceparent=self.traceparent,
                caller=self.caller,
                size=None if reply is None else partial(self.size, reply),
            )
        return reply

    async def predicted(
        self, call: AnyCall, request: InferenceRequest[AnyReply], inputs: Tensors, model: LoadedModel
    ) -> AnyReply:
        """The encoded answer to a decoded request. It is recorded, and copied to a canary, if the model has that.

        Raises:
            ServingError: see ``predict`` and ``Decoding.printed``.
        """
        timings, options = call.timings, request.options
        call.has_own_timeout = options.timeout_s is not None
        prediction = await predict(model, inputs, options, clock=self._clock, began=call.began)
        timings.queue, timings.compute = prediction.queue_s, prediction.compute_s
        if call.rollout is not None and model is call.rollout.stable:
            call.rollout.copy(inputs, prediction)
        answered = self._clock()
        outputs = model.as_sent(prediction.outputs)
        if is_small(outputs):
            reply = request.print_answer(outputs)
        else:
            reply = await self._decoding.printed(request.print_answer, outputs, model, options, began=call.began)
        timings.encode = self._clock() - answered
        if self._registry.recorded and (recording := self._registry.recorded.get(model.name)) is not None:
            recording.take(
                model,
                inputs,
                prediction,
                texts=texts_of(request.inputs, model),
                request_id=self.caller(call).request_id,
                protocol=call.route.protocol,
            )
        return reply

    async def recorded_text(
        self, call: AnyCall, model: LoadedModel, prompt: str, pieces: AsyncIterator[str]
    ) -> AsyncIterator[str]:
        """The pieces of a text that is generated; recorded at their end, if the model has that.

        A text that fails, or whose client leaves, is not recorded.
        """
        recording = self._registry.recorded.get(model.name)
        told: list[str] = []
        async for piece in pieces:
            if recording is not None:
                told.append(piece)
            yield piece
        if recording is not None:
            recording.take_text(
                model,
                prompt,
                "".join(told),
                request_id=self.caller(call).request_id,
                protocol=call.route.protocol,
            )

    async def _wake(self, call: AnyCall) -> None:
        """Load the requested model if it sleeps."""
        version = call.route.version
        await self._registry.wake(call.route.name, None if version is None else version_number(version))

    def _find(self, call: AnyCall) -> LoadedModel:
        """The requested version, or the default version together with the canary that is compared with it."""
        route = call.route
        version = None if route.version is None else version_number(route.version)
        call.model = model = self._registry.get(route.name, version, route.label)
        if version is None and route.label is None:
            call.rollout = self._registry.rollout(route.name)
        return model

    async def _read(self, call: AnyCall, model: LoadedModel) -> tuple[LoadedModel, tuple[object, ...] | None]:
        """Read the rest of a request that ``model`` can answer.

        Returns:
            The version that answers now: one that is unloaded does not wait for a slow client. And see
            ``_check_unread``.
        """
        checked = self._check_unread(call, model)
        await self.read(call)
        if self._registry.asleep.names:
            await self._wake(call)
        return self._find(call), checked

    def _check_unread(self, call: AnyCall, model: LoadedModel) -> tuple[object, ...] | None:
        """Refuse a request that cannot be admitted, unless its content may send it to the canary.

        Returns:
            What the decision depends on, to be compared when the request is read; None if there was no decision.
        """
        if call.rollout is not None and call.rollout.splits:
            return None
        self._check_open(call, model)
        return _marks_of(model)

    def _check_open(self, call: AnyCall, model: LoadedModel) -> None:
        """Refuse a request that cannot be admitted, before it is decoded."""
        if not model.admission.rows:
            model.admission.check_open()
        elif (options := self.options(call, model)) is None:
            model.batcher.check_open()
        else:
            left_s = call.began + model.timeout_s(options) - self._clock()
            model.batcher.check_open(level=model.batcher.rules.level(options.priority), left_s=left_s)

    def _begin_trace(self, tracer: RequestTracer, call: AnyCall) -> RequestTrace | None:
        trace = tracer.begin(call, self.traceparent(call))
        if trace is not None:
            self.traced(call, trace)
        return trace


def _marks_of(model: LoadedModel) -> tuple[object, ...]:
    """The version, and what changes whenever its queue does."""
    admission = model.admission
    return (
        model,
        admission.rows,
        admission.decoding,
        admission.turnover,
        admission.instances,
        admission.draining,
    )
