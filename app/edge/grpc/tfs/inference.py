"""Answers the inference methods of PredictionService: translates their messages for ``Answering``."""

from dataclasses import dataclass
from typing import Any

from grpc.aio import ServicerContext

from app.batching.work import DEFAULT_OPTIONS, RequestOptions
from app.edge.call import Route
from app.edge.grpc.calls import GrpcAnswering, GrpcCall, Refusal, until_deadline
from app.edge.grpc.metadata import Metadata
from app.edge.grpc.tfs import serving_pb2 as pb
from app.edge.grpc.tfs.messages import Verb, first_spec, is_small
from app.edge.grpc.tfs.target import Target, check_spec
from app.edge.grpc.tfs.tensors import Room
from app.errors import NotFound, ServingError
from app.loaded import LoadedModel


@dataclass(slots=True, kw_only=True)
class TfsCall(GrpcCall):
    """A call of an inference method of PredictionService.

    Attributes:
        verb: the method.
    """

    verb: Verb


class TfsInference(GrpcAnswering[TfsCall, Any]):
    """Answers Predict, Classify, Regress and MultiInference.

    Args:
        message_limit_bytes: largest request.
        others: see ``GrpcAnswering``.
    """

    def __init__(self, *, message_limit_bytes: int, **others: Any) -> None:
        super().__init__(**others)
        self._message_limit_bytes = message_limit_bytes

    def call(self, verb: Verb, message: Any, context: ServicerContext, request_id: str) -> TfsCall:
        """A request that has just arrived."""
        target = Target.of(_spec_of(message))
        return TfsCall(
            route=Route("tfs", *target, verb.name, f"grpc:{verb.name}", is_inference=True),
            began=self._clock(),
            verb=verb,
            message=message,
            context=context,
            metadata=Metadata(context),
            request_id=request_id,
        )

    def admit(self, call: TfsCall) -> None:
        """Check its API key, and that it names one model."""
        super().admit(call)
        if isinstance(call.message, pb.MultiInferenceRequest):
            first_spec(call.message)
        else:
            check_spec(call.message.model_spec, given=call.message.HasField("model_spec"))

    def options(self, call: TfsCall, model: LoadedModel) -> RequestOptions:
        """Only the deadline of the call limits its time."""
        return until_deadline(call, DEFAULT_OPTIONS, model)

    async def reply(self, call: TfsCall, model: LoadedModel) -> Any:
        """Decode, predict, encode."""
        message, room = call.message, Room(self._message_limit_bytes)
        return await self.inferred(
            call, model, lambda: call.verb.parse(message, model, room), is_small=is_small(message)
        )

    def refused(self, call: TfsCall, error: ServingError | None) -> Refusal:
        """The status of the failed call; for an unknown model with TensorFlow Serving's message."""
        if isinstance(error, NotFound):
            error = Target(call.route.name, call.route.version, call.route.label).not_found()
        return Refusal.of(error)


def _spec_of(message: Any) -> pb.ModelSpec:
    """The model of a request; empty if the request does not name a model."""
    if isinstance(message, pb.MultiInferenceRequest):
        return message.tasks[0].model_spec if message.tasks else pb.ModelSpec()
    spec: pb.ModelSpec = message.model_spec
    return spec
