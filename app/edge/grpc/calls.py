"""Shared by inference calls of all gRPC services: ``Answering`` with the calls' metadata, deadlines and statuses."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple, TypeVar

from grpc import StatusCode
from grpc.aio import ServicerContext

from app.batching.work import RequestOptions
from app.control.api_keys import ApiKeys
from app.edge.accounting import Caller
from app.edge.answering import Answering
from app.edge.call import Call, InferenceRequest
from app.edge.codec.decoding import Decoding
from app.edge.entry.access_log import AccessLog
from app.edge.entry.request_ids import HEADER as REQUEST_ID
from app.edge.entry.trace_context import HEADER, RESPONSE
from app.edge.grpc.metadata import Metadata, client_of
from app.edge.grpc.status import code_of, details_of
from app.edge.observer import RequestObserver
from app.edge.tracer import RequestTrace, RequestTracer
from app.errors import ServingError
from app.lifecycle.registry import Registry
from app.loaded import LoadedModel
from app.types import Clock, Tensors


@dataclass(slots=True, kw_only=True)
class GrpcCall(Call):
    """A call of an inference method.

    Attributes:
        message: the client's request.
        context: of the call.
        metadata: of the call.
        request_id: its id.
        key: name of its API key; None without one.
    """

    message: Any
    context: ServicerContext
    metadata: Metadata
    request_id: str
    key: str | None = None


class Refusal(NamedTuple):
    """The status of a call that fails."""

    code: StatusCode
    details: str

    @classmethod
    def of(cls, error: ServingError | None) -> "Refusal":
        """The status of an error; None: an internal error, which only the log describes."""
        if error is None:
            return cls(StatusCode.INTERNAL, "internal error; see the service's log")
        return cls(code_of(error), details_of(error))


TRACE = HEADER.decode()

AnyGrpcCall = TypeVar("AnyGrpcCall", bound=GrpcCall)
AnyMessage = TypeVar("AnyMessage")


class GrpcAnswering(Answering[AnyGrpcCall, AnyMessage | Refusal]):
    """Answers inference calls. gRPC reads the message before the call starts, so the stage "read" is always 0.

    Args:
        keys: the API keys that inference requires; None: every caller is permitted.
        registry, decoding, observer, access_log, clock, tracer: see ``Answering``.
    """

    def __init__(
        self,
        *,
        keys: ApiKeys | None,
        registry: Registry,
        decoding: Decoding,
        observer: RequestObserver,
        access_log: AccessLog | None,
        clock: Clock,
        tracer: RequestTracer | None = None,
    ) -> None:
        super().__init__(
            registry=registry,
            decoding=decoding,
            observer=observer,
            access_log=access_log,
            clock=clock,
            tracer=tracer,
        )
        self._keys = keys

    def admit(self, call: AnyGrpcCall) -> None:
        """Check its API key."""
        if self._keys is not None:
            self._keys.check("infer", call.metadata.credentials, found=partial(setattr, call, "key"))

    async def read(self, call: AnyGrpcCall) -> None:
        """gRPC has read it."""

    def rollout_key(self, call: AnyGrpcCall, header: str | None) -> bytes:
        """The metadata with that name, or else the whole request."""
        if header is not None and header in call.metadata.fields:
            return call.metadata.raw(header)
        return self.content(call)

    def content(self, call: AnyGrpcCall) -> bytes:
        """The same bytes for the same request."""
        content: bytes = call.message.SerializeToString(deterministic=True)
        return content

    def refused(self, call: AnyGrpcCall, error: ServingError | None) -> AnyMessage | Refusal:
        """The status of the failed call."""
        return Refusal.of(error)

    def caller(self, call: AnyGrpcCall) -> Caller:
        """The client, from the call and its context."""
        return Caller(call.request_id, client_of(call.context), call.key)

    def traceparent(self, call: AnyGrpcCall) -> bytes | None:
        """The metadata of that name."""
        return call.metadata.raw(TRACE) or None

    def traced(self, call: AnyGrpcCall, trace: RequestTrace) -> None:
        """By the trailing metadata, which also has the request id; of a stream, that of its last request."""
        call.context.set_trailing_metadata(
            ((REQUEST_ID.decode(), call.request_id), (RESPONSE.decode(), trace.traceresponse.decode()))
        )

    def size(self, reply: AnyMessage | Refusal) -> int | None:
        """Bytes of the message."""
        return None if isinstance(reply, Refusal) else reply.ByteSize()  # type: ignore[attr-defined]

    async def inferred(
        self,
        call: AnyGrpcCall,
        model: LoadedModel,
        parse: Callable[[], InferenceRequest[AnyMessage | Refusal]],
        *,
        is_small: bool,
    ) -> AnyMessage | Refusal:
        """Decode, predict, encode.

        Args:
            call: the call.
            model: the version that answers.
            parse: returns the request.
            is_small: whether that costs less than a thread hop.
        """
        request, inputs, answering = await self.decoded(call, model, parse, is_small=is_small)
        return await self.predicted(call, request, inputs, answering)

    async def decoded(
        self,
        call: AnyGrpcCall,
        model: LoadedModel,
        parse: Callable[[], InferenceRequest[AnyMessage | Refusal]],
        *,
        is_small: bool,
    ) -> tuple[InferenceRequest[AnyMessage | Refusal], Tensors, LoadedModel]:
        """The request, its tensors, and what answers it. Arguments as ``inferred``."""
        request = parse() if is_small else await self._decoding.aside(parse, model, began=call.began)
        answering = request.model or model
        request.options = until_deadline(call, request.options, answering)
        inputs = await self._decoding.tensors(request.inputs, answering, request.options, began=call.began)
        call.timings.decode = self._clock() - call.began
        return request, inputs, answering


def until_deadline(call: GrpcCall, options: RequestOptions, model: LoadedModel) -> RequestOptions:
    """The request's options, with a timeout no longer than the client waits: a later answer would not be read."""
    remaining_s = call.context.time_remaining()
    if remaining_s is None or remaining_s >= model.timeout_s(options):
        return options
    return replace(options, timeout_s=remaining_s)
