"""Answers inference over gRPC: translates gRPC messages and metadata for ``Answering``."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple

from grpc import StatusCode
from grpc.aio import ServicerContext

from app.batching.work import RequestOptions
from app.control.api_keys import ApiKeys
from app.edge.answering import Answering, Caller
from app.edge.call import Call, Route
from app.edge.codec.decoding import Decoding
from app.edge.entry.access_log import AccessLog
from app.edge.grpc import inference_pb2 as pb
from app.edge.grpc.generating import asks_for_text, parse_text, print_piece
from app.edge.grpc.messages import check_size, is_small, parse_infer, plain_parameters
from app.edge.grpc.metadata import Metadata, client_of
from app.edge.grpc.status import code_of, details_of
from app.edge.observer import RequestObserver
from app.edge.rest.oip_inputs import EMPTY_FINAL, read_options
from app.errors import ServingError
from app.lifecycle.registry import Registry
from app.loaded import LoadedModel
from app.serving.generation import generate
from app.types import Clock

Emit = Callable[[pb.ModelInferResponse], Awaitable[None]]


@dataclass(slots=True, kw_only=True)
class GrpcCall(Call):
    """A call of ``ModelInfer``.

    Attributes:
        message: the client's request.
        context: of the call.
        metadata: of the call.
        request_id: its id.
        key: name of its API key; None without one.
        emit: sends a reply before the last one; None if the request has one reply.
    """

    message: pb.ModelInferRequest
    context: ServicerContext
    metadata: Metadata
    request_id: str
    key: str | None = None
    emit: Emit | None = None


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


class GrpcInference(Answering[GrpcCall, pb.ModelInferResponse | Refusal]):
    """Answers ``ModelInfer``. gRPC reads the message before the call starts, so the stage "read" is always 0.

    Args:
        keys: the API keys that inference requires; None: anybody may ask.
        registry, decoding, observer, access_log, clock: see ``Answering``.
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
    ) -> None:
        super().__init__(registry=registry, decoding=decoding, observer=observer, access_log=access_log, clock=clock)
        self._keys = keys

    def call(
        self, message: pb.ModelInferRequest, context: ServicerContext, request_id: str, emit: Emit | None = None
    ) -> GrpcCall:
        """A request that has just arrived, by itself or, with ``emit``, within a stream."""
        verb = "infer" if emit is None else "stream_infer"
        version = message.model_version or None
        return GrpcCall(
            route=Route("grpc", message.model_name, version, None, verb, f"grpc:{verb}", is_inference=True),
            began=self._clock(),
            message=message,
            context=context,
            metadata=Metadata(context),
            request_id=request_id,
            emit=emit,
        )

    def admit(self, call: GrpcCall) -> None:
        """Check its API key, and how many parts its message has."""
        if self._keys is not None:
            self._keys.check("infer", call.metadata.credentials, found=partial(setattr, call, "key"))
        check_size(call.message)

    async def read(self, call: GrpcCall) -> None:
        """gRPC has read it."""

    def rollout_key(self, call: GrpcCall, header: str | None) -> bytes:
        """The metadata with that name, or else the whole request."""
        if header is not None and header in call.metadata.fields:
            return call.metadata.raw(header)
        raw = call.message.raw_input_contents
        return b"".join(raw) if raw else call.message.SerializeToString()

    def options(self, call: GrpcCall, model: LoadedModel) -> RequestOptions:
        """Priority and timeout: gRPC messages state them outside of the tensors."""
        return _until(call, read_options(plain_parameters(call.message.parameters)), model)

    def refused(self, error: ServingError | None) -> Refusal:
        """The status of the failed call."""
        return Refusal.of(error)

    def caller(self, call: GrpcCall) -> Caller:
        """The client, from the call and its context."""
        return Caller(call.request_id, client_of(call.context), call.key)

    def size(self, reply: pb.ModelInferResponse | Refusal) -> int | None:
        """Bytes of the message."""
        return None if isinstance(reply, Refusal) else reply.ByteSize()

    async def reply(self, call: GrpcCall, model: LoadedModel) -> pb.ModelInferResponse | Refusal | None:
        """Decode, predict, encode; or continue a text."""
        if asks_for_text(call.message, model):
            return await self._text(call, model)
        if is_small(call.message):
            request = parse_infer(call.message, model)
        else:
            request = await self._decoding.aside(lambda: parse_infer(call.message, model), model, began=call.began)
        request.options = _until(call, request.options, model)
        inputs = await self._decoding.tensors(request.inputs, model, request.options, began=call.began)
        call.timings.decode = self._clock() - call.began
        return await self.predicted(call, request, inputs, model)

    async def _text(self, call: GrpcCall, model: LoadedModel) -> pb.ModelInferResponse | None:
        """Continue a text: within a stream in pieces, whose end is a reply of its own if the client asks for it."""
        text, sampling, options = parse_text(call.message)
        call.has_own_timeout = options.timeout_s is not None
        options = _until(call, options, model)
        prompt = await self._decoding.prompt(text, model, options, began=call.began)
        call.timings.decode = self._clock() - call.began
        pieces = generate(model, prompt, sampling, options, call.timings, clock=self._clock)
        request_id, emit = call.message.id, call.emit
        if emit is None:
            return print_piece("".join([piece async for piece in pieces]), model, request_id)
        async for piece in pieces:
            await emit(print_piece(piece, model, request_id))
        if not call.message.parameters[EMPTY_FINAL].bool_param:
            return None
        return pb.ModelInferResponse(model_name=model.name, model_version=str(model.version), id=request_id)


def _until(call: GrpcCall, options: RequestOptions, model: LoadedModel) -> RequestOptions:
    """The request's options, with a timeout no longer than the client waits: a later answer would not be read."""
    remaining_s = call.context.time_remaining()
    if remaining_s is None or remaining_s >= model.timeout_s(options):
        return options
    return replace(options, timeout_s=remaining_s)
