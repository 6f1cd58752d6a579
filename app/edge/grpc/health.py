"""grpc.health.v1: the health service for load balancers and Kubernetes over gRPC.

Source: github.com/grpc/grpc/blob/master/src/proto/grpc/health/v1/health.proto. Its two messages of one field each are
defined here, in a separate descriptor pool, so that they do not conflict with another copy of the protocol in the
process, such as a client's.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from grpc import StatusCode
from grpc.aio import ServicerContext

from app.edge.grpc.open_streams import OpenStreams
from app.edge.grpc.status import code_of, details_of
from app.edge.grpc.wire_size import FieldLimit, parts_of
from app.errors import Overloaded

NAME = "grpc.health.v1.Health"
UNKNOWN, SERVING, NOT_SERVING, SERVICE_UNKNOWN = range(4)


def _messages() -> tuple[Any, Any]:
    field = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(
        name="grpc/health/v1/health.proto", package="grpc.health.v1", syntax="proto3"
    )
    request = file.message_type.add(name="HealthCheckRequest")
    request.field.add(name="service", number=1, type=field.TYPE_STRING, label=field.LABEL_OPTIONAL)
    response = file.message_type.add(name="HealthCheckResponse")
    statuses = response.enum_type.add(name="ServingStatus")
    for number, name in enumerate(("UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN")):
        statuses.value.add(name=name, number=number)
    response.field.add(
        name="status",
        number=1,
        type=field.TYPE_ENUM,
        label=field.LABEL_OPTIONAL,
        type_name=".grpc.health.v1.HealthCheckResponse.ServingStatus",
    )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    made = (pool.FindMessageTypeByName(f"grpc.health.v1.{each.name}") for each in (request, response))
    first, second = (message_factory.GetMessageClass(each) for each in made)
    return first, second


HealthCheckRequest, HealthCheckResponse = _messages()


class HealthServicer:
    """Answers Check and Watch for the whole server and for its services.

    Args:
        is_ready: whether the server accepts requests.
        is_ending: whether the process is stopping; it does not wait for watchers.
        streams: of the process; a watcher is one.
        services: names of the services; the empty name is the whole server.
    """

    def __init__(
        self,
        *,
        is_ready: Callable[[], bool],
        is_ending: Callable[[], bool],
        streams: OpenStreams,
        services: tuple[str, ...],
    ) -> None:
        self._is_ready = is_ready
        self._is_ending = is_ending
        self._streams = streams
        self._services = {"", *services}

    def field_limits(self) -> dict[str, FieldLimit]:
        """Path of each method -> what its requests may have."""
        limit = FieldLimit(parts_of(HealthCheckRequest.DESCRIPTOR))
        return {f"/{NAME}/{method}": limit for method in ("Check", "Watch")}

    def handler(self) -> grpc.GenericRpcHandler:
        """The handler for ``add_generic_rpc_handlers``."""
        forms = {
            "request_deserializer": HealthCheckRequest.FromString,
            "response_serializer": HealthCheckResponse.SerializeToString,
        }
        return grpc.method_handlers_generic_handler(
            NAME,
            {
                "Check": grpc.unary_unary_rpc_method_handler(self.check, **forms),
                "Watch": grpc.unary_stream_rpc_method_handler(self.watch, **forms),
            },
        )

    async def check(self, request: Any, context: ServicerContext) -> Any:
        """The current status."""
        if request.service not in self._services:
            await context.abort(StatusCode.NOT_FOUND, "unknown service")
        return HealthCheckResponse(status=self._status())

    async def watch(self, request: Any, context: ServicerContext) -> AsyncIterator[Any]:
        """The current status and each later change, until the client leaves or the service stops."""
        changed = asyncio.Event()
        try:
            with self._streams.one(changed.set):
                async for status in self._statuses(request.service in self._services, changed):
                    yield HealthCheckResponse(status=status)
        except Overloaded as error:
            await context.abort(code_of(error), details_of(error))

    async def _statuses(self, known: bool, changed: asyncio.Event) -> AsyncIterator[int]:
        told = None
        while True:
            changed.clear()
            is_last = self._is_ending()
            status = self._status() if known else SERVICE_UNKNOWN
            if status != told:
                told = status
                yield status
            if is_last:
                return
            await changed.wait()

    def _status(self) -> int:
        return SERVING if self._is_ready() else NOT_SERVING
