"""Refuses requests that are no messages, or too large ones, as a client's mistake, for all methods of all services."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, NoReturn

import grpc
from google.protobuf.message import DecodeError
from grpc import HandlerCallDetails, RpcMethodHandler
from grpc.aio import ServerInterceptor, ServicerContext

from app.edge.grpc.wire_size import FieldLimit, check_fields
from app.errors import InvalidInput, ServingError

Refuse = Callable[[ServingError, ServicerContext], Awaitable[NoReturn]]


class ReadableRequests(ServerInterceptor):  # type: ignore[misc]
    """Passes only valid messages to the methods.

    Args:
        refuse: ends a call with an error.
        limits: path of a method -> how many fields its requests may have; others have the usual limit.
        limit_bytes: most bytes of a message, and in memory of its whole numbers.
    """

    def __init__(self, refuse: Refuse, limits: Mapping[str, FieldLimit], limit_bytes: int) -> None:
        self._refuse = refuse
        self._limits = limits
        self._limit_bytes = limit_bytes
        self._guarded: dict[str, RpcMethodHandler] = {}

    async def intercept_service(
        self, continuation: Callable[[HandlerCallDetails], Awaitable[Any]], handler_call_details: HandlerCallDetails
    ) -> RpcMethodHandler | None:
        """Called by gRPC to find a method."""
        path = handler_call_details.method
        if (guarded := self._guarded.get(path)) is not None:
            return guarded
        handler = await continuation(handler_call_details)
        if handler is None:
            return None
        guarded = self._guarded[path] = _guarded(
            handler, path, self._refuse, self._limits.get(path, FieldLimit()), self._limit_bytes
        )
        return guarded


def _guarded(handler: Any, path: str, refuse: Refuse, limit: FieldLimit, limit_bytes: int) -> RpcMethodHandler:
    read = handler.request_deserializer

    def deserialize(data: bytes) -> object:
        """The message, or the error that refuses it: an exception here would be a server error."""
        try:
            check_fields(data, limit, limit_bytes)
            return read(data)
        except InvalidInput as error:
            return error
        except (DecodeError, ValueError):
            return InvalidInput(f"the request of {path} is not a message of that method: its bytes cannot be read")

    # A stream of requests gets the errors in their places: those that can be read are answered.
    forms = {"request_deserializer": deserialize, "response_serializer": handler.response_serializer}
    if handler.request_streaming:
        return grpc.stream_stream_rpc_method_handler(handler.stream_stream, **forms)
    if handler.response_streaming:
        stream = handler.unary_stream

        async def answer_stream(request: object, context: ServicerContext) -> AsyncIterator[object]:
            if isinstance(request, ServingError):
                await refuse(request, context)
            async for each in stream(request, context):
                yield each

        return grpc.unary_stream_rpc_method_handler(answer_stream, **forms)
    unary = handler.unary_unary

    async def answer(request: object, context: ServicerContext) -> object:
        if isinstance(request, ServingError):
            await refuse(request, context)
        return await unary(request, context)

    return grpc.unary_unary_rpc_method_handler(answer, **forms)
