"""The methods of GRPCInferenceService. Each calls the same code as its REST route."""

from collections.abc import AsyncIterator
from typing import Any, TypeVar

import grpc
from google.protobuf.json_format import ParseDict
from grpc.aio import ServicerContext

from app.control import describe
from app.control.administration import (
    AdminRule,
    RepositoryCommands,
    check_load_parameters,
    check_unload_parameters,
    refuse_repository_name,
)
from app.control.model_config import model_config
from app.control.unsupported import LOG_SETTINGS, TRACE_SETTINGS
from app.edge.entry.door import Door
from app.edge.grpc import inference_pb2 as pb
from app.edge.grpc.calls import Refusal
from app.edge.grpc.inference import GrpcInference
from app.edge.grpc.inference_pb2_grpc import GRPCInferenceServiceServicer
from app.edge.grpc.messages import plain_parameters
from app.edge.grpc.methods import answers_errors
from app.edge.grpc.open_streams import OpenStreams
from app.edge.grpc.shared_memory import SharedMemoryMethods
from app.edge.grpc.stream import InferenceStream
from app.edge.grpc.wire_size import FieldLimit, parts_of
from app.edge.shared_memory.regions import Closed, Regions
from app.errors import NotFound, ServingError, Unavailable, Unsupported
from app.lifecycle.readiness import not_ready_reason
from app.lifecycle.registry import Registry
from app.repository.scan import version_number

Message = TypeVar("Message")

SERVICE = "inference.GRPCInferenceService"
INFER = f"/{SERVICE}/ModelInfer"
FIELD_LIMITS = {
    f"/{SERVICE}/{method.name}": FieldLimit(parts_of(method.input_type))
    for method in pb.DESCRIPTOR.services_by_name["GRPCInferenceService"].methods
}


class InferenceServicer(SharedMemoryMethods, GRPCInferenceServiceServicer):
    """Answers gRPC calls.

    Args:
        inference: answers inference requests.
        registry: finds the model version.
        commands: loads and unloads.
        statistics: returns the counts of the versions.
        admin, door: see ``Methods``.
        memory: see ``SharedMemoryMethods``.
        unload_timeout_s: seconds in which requests of a model that is unloaded may finish.
        send_timeout_s: for the client of a stream to read part of a reply.
        streams: of the process.
    """

    def __init__(
        self,
        *,
        inference: GrpcInference,
        registry: Registry,
        commands: RepositoryCommands,
        statistics: describe.TotalStatistics,
        admin: AdminRule,
        door: Door,
        unload_timeout_s: float,
        send_timeout_s: float,
        streams: OpenStreams,
        memory: Regions | Closed,
    ) -> None:
        super().__init__(memory=memory, admin=admin, door=door)
        self._inference = inference
        self._registry = registry
        self._commands = commands
        self._statistics = statistics
        self._unload_timeout_s = unload_timeout_s
        self._send_timeout_s = send_timeout_s
        self._streams = streams

    @answers_errors
    async def ServerLive(self, request: pb.ServerLiveRequest, context: ServicerContext) -> pb.ServerLiveResponse:
        """The process is live."""
        return pb.ServerLiveResponse(live=True)

    @answers_errors
    async def ServerReady(self, request: pb.ServerReadyRequest, context: ServicerContext) -> pb.ServerReadyResponse:
        """A model is ready and the process is not stopping."""
        return pb.ServerReadyResponse(ready=not_ready_reason(self._registry) is None)

    @answers_errors
    async def ModelReady(self, request: pb.ModelReadyRequest, context: ServicerContext) -> pb.ModelReadyResponse:
        """A version is ready. As in Triton, a version that does not exist is not ready, and not an error."""
        try:
            self._registry.check_ready(request.name, _version(request.version))
        except (NotFound, Unavailable):
            return pb.ModelReadyResponse(ready=False)
        return pb.ModelReadyResponse(ready=True)

    @answers_errors
    async def ServerMetadata(
        self, request: pb.ServerMetadataRequest, context: ServicerContext
    ) -> pb.ServerMetadataResponse:
        """Name, version and extensions of the service."""
        return _filled(pb.ServerMetadataResponse(), describe.server_metadata())

    @answers_errors
    async def ModelMetadata(
        self, request: pb.ModelMetadataRequest, context: ServicerContext
    ) -> pb.ModelMetadataResponse:
        """Inputs and outputs."""
        metadata = await describe.model_metadata(self._registry, request.name, _version(request.version))
        return _filled(pb.ModelMetadataResponse(), metadata)

    @answers_errors
    async def ModelConfig(self, request: pb.ModelConfigRequest, context: ServicerContext) -> pb.ModelConfigResponse:
        """Signature and batching. The message has no field for the latency curve, which REST returns."""
        config = model_config(await self._registry.described(request.name, _version(request.version)))
        del config["latency_curve"]
        return _filled(pb.ModelConfigResponse(), {"config": config})

    @answers_errors
    async def ModelStatistics(
        self, request: pb.ModelStatisticsRequest, context: ServicerContext
    ) -> pb.ModelStatisticsResponse:
        """The counts of every version since it was first loaded."""
        entries = describe.model_statistics(
            self._registry, await self._statistics(), request.name or None, _version(request.version)
        )
        return _filled(pb.ModelStatisticsResponse(), {"model_stats": entries})

    @answers_errors
    async def RepositoryIndex(
        self, request: pb.RepositoryIndexRequest, context: ServicerContext
    ) -> pb.RepositoryIndexResponse:
        """Every version of every model with its state."""
        _check_repository(request.repository_name)
        entries = await describe.repository_index(self._registry, ready=request.ready)
        return _filled(pb.RepositoryIndexResponse(), {"models": entries})

    @answers_errors
    async def RepositoryModelLoad(
        self, request: pb.RepositoryModelLoadRequest, context: ServicerContext
    ) -> pb.RepositoryModelLoadResponse:
        """Load the versions that serving.json specifies."""
        self.check_admin("RepositoryModelLoad", context)
        _check_repository(request.repository_name)
        check_load_parameters(plain_parameters(request.parameters))
        await self._commands.load(request.model_name)
        return pb.RepositoryModelLoadResponse()

    @answers_errors
    async def RepositoryModelUnload(
        self, request: pb.RepositoryModelUnloadRequest, context: ServicerContext
    ) -> pb.RepositoryModelUnloadResponse:
        """Stop serving a model until it is loaded again."""
        self.check_admin("RepositoryModelUnload", context)
        _check_repository(request.repository_name)
        check_unload_parameters(plain_parameters(request.parameters))
        await self._commands.unload(request.model_name, timeout_s=self._unload_timeout_s)
        return pb.RepositoryModelUnloadResponse()

    def unsupported(self) -> grpc.GenericRpcHandler:
        """Methods of Triton's service that are answered with the reason why they are missing; no request is parsed."""

        def refusing(why: str) -> grpc.RpcMethodHandler:
            async def refuse(request: bytes, context: ServicerContext) -> None:
                await self.refuse_unread(Unsupported(why), context)

            return grpc.unary_unary_rpc_method_handler(refuse, request_deserializer=bytes)

        methods = {"TraceSetting": refusing(TRACE_SETTINGS), "LogSettings": refusing(LOG_SETTINGS)}
        return grpc.method_handlers_generic_handler(SERVICE, methods)

    async def ModelStreamInfer(
        self, request_iterator: AsyncIterator[pb.ModelInferRequest | ServingError], context: ServicerContext
    ) -> None:
        """Answer the inference requests of a stream; each is counted like one of ``ModelInfer``."""
        stream = InferenceStream(
            self._inference,
            context,
            self.begin(context),
            is_ending=lambda: self._registry.draining,
            streams=self._streams,
            send_timeout_s=self._send_timeout_s,
        )
        if (refusal := await stream.run(request_iterator)) is not None:
            await context.abort(*refusal)

    async def ModelInfer(
        self, request: pb.ModelInferRequest, context: ServicerContext, began: float | None = None
    ) -> pb.ModelInferResponse:
        """Answer an inference request; counted with the status code of the REST interface."""
        request_id = self.begin(context)
        reply = await self._inference.answer(self._inference.call(request, context, request_id, began=began))
        if isinstance(reply, Refusal):
            await context.abort(*reply)
        assert isinstance(reply, pb.ModelInferResponse)
        return reply


def _version(text: str) -> int | None:
    """The version in a message; None without one."""
    return version_number(text) if text else None


def _check_repository(name: str) -> None:
    if name:
        refuse_repository_name(name, place="message")


def _filled(message: Message, content: dict[str, Any]) -> Message:
    """The message with the names and values of the REST interface's JSON."""
    ParseDict(content, message)
    return message
