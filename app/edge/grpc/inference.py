"""Answers ``ModelInfer`` and ``ModelStreamInfer``: translates their messages for ``Answering``."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from grpc.aio import ServicerContext

from app.batching.work import RequestOptions
from app.edge.call import InferenceRequest, Route
from app.edge.grpc import inference_pb2 as pb
from app.edge.grpc.calls import GrpcAnswering, GrpcCall, Refusal, until_deadline
from app.edge.grpc.explaining import asked_by, asks_for_explanations, print_explanations
from app.edge.grpc.generating import asks_for_text, parse_text, print_piece
from app.edge.grpc.message_parts import check_parts, is_small
from app.edge.grpc.messages import parse_infer, plain_parameters
from app.edge.grpc.metadata import Metadata, is_near
from app.edge.rest.explain import words_aside
from app.edge.rest.oip_inputs import EMPTY_FINAL, read_options
from app.edge.shared_memory.regions import TOO_FAR, Memory
from app.explain.explainer import Explainer
from app.loaded import LoadedModel
from app.serving.generation import generate

Emit = Callable[[pb.ModelInferResponse], Awaitable[None]]


@dataclass(slots=True, kw_only=True)
class InferCall(GrpcCall):
    """A call of ``ModelInfer``.

    Attributes:
        emit: sends a reply before the last one; None if the request has one reply.
    """

    message: pb.ModelInferRequest
    emit: Emit | None = None


class GrpcInference(GrpcAnswering[InferCall, pb.ModelInferResponse]):
    """Answers ``ModelInfer``.

    Args:
        memory: shared with clients on this machine.
        explainer: of the process.
        answering: see ``GrpcAnswering``.
    """

    def __init__(self, *, memory: Memory, explainer: Explainer, **answering: Any) -> None:
        super().__init__(**answering)
        self._memory = memory
        self._explainer = explainer

    def call(
        self,
        message: pb.ModelInferRequest,
        context: ServicerContext,
        request_id: str,
        emit: Emit | None = None,
        *,
        began: float | None = None,
    ) -> InferCall:
        """A request that arrived at ``began``, or just now, by itself or, with ``emit``, within a stream."""
        verb = "infer" if emit is None else "stream_infer"
        version = message.model_version or None
        return InferCall(
            route=Route("grpc", message.model_name, version, None, verb, f"grpc:{verb}", is_inference=True),
            began=self._clock() if began is None else began,
            message=message,
            context=context,
            metadata=Metadata(context),
            request_id=request_id,
            emit=emit,
        )

    def admit(self, call: InferCall) -> None:
        """Check its API key, and how many parts its message has."""
        super().admit(call)
        check_parts(call.message)

    def content(self, call: InferCall) -> bytes:
        """The tensors' bytes, or else the whole request."""
        raw = call.message.raw_input_contents
        return b"".join(raw) if raw else call.message.SerializeToString()

    def options(self, call: InferCall, model: LoadedModel) -> RequestOptions:
        """Priority and timeout: gRPC messages state them outside of the tensors."""
        return until_deadline(call, read_options(plain_parameters(call.message.parameters)), model)

    async def reply(self, call: InferCall, model: LoadedModel) -> pb.ModelInferResponse | Refusal | None:
        """Decode, predict, encode; or continue a text, or explain the answer."""
        message = call.message
        if asks_for_text(message, model):
            return await self._text(call, model)
        memory = self._memory if is_near(call.context) else TOO_FAR

        def parse() -> InferenceRequest[pb.ModelInferResponse | Refusal]:
            return parse_infer(message, model, memory)

        if not asks_for_explanations(message):
            return await self.inferred(call, model, parse, is_small=is_small(message))
        call.explains = True
        asked = asked_by(message)
        request, inputs, answering = await self.decoded(call, model, parse, is_small=is_small(message))
        words = await words_aside(request.inputs, answering)
        found = await self._explainer.explain(
            answering, inputs, asked, began=call.began, options=request.options, words=words
        )
        return print_explanations(found, answering, asked, message.id)

    async def _text(self, call: InferCall, model: LoadedModel) -> pb.ModelInferResponse | None:
        """Continue a text: within a stream in pieces, whose end is a separate reply if the client requests it."""
        text, sampling, options = parse_text(call.message)
        call.has_own_timeout = options.timeout_s is not None
        options = until_deadline(call, options, model)
        prompt = await self._decoding.prompt(text, model, options, began=call.began)
        call.timings.decode = self._clock() - call.began
        generated = generate(model, prompt, sampling, options, call.timings, clock=self._clock)
        pieces = self.recorded_text(call, model, text, generated)
        request_id, emit = call.message.id, call.emit
        if emit is None:
            return print_piece("".join([piece async for piece in pieces]), model, request_id)
        async for piece in pieces:
            await emit(print_piece(piece, model, request_id))
        if not call.message.parameters[EMPTY_FINAL].bool_param:
            return None
        return pb.ModelInferResponse(model_name=model.name, model_version=str(model.version), id=request_id)
