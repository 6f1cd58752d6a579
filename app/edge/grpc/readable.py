"""Refuses invalid or too large messages as a client's mistake, for all methods of all services."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from functools import partial
from typing import Any, NoReturn, Protocol

import grpc
from google.protobuf.message import DecodeError
from grpc import HandlerCallDetails, RpcMethodHandler
from grpc.aio import ServerInterceptor, ServicerContext

from app.edge.grpc.wire_size import FieldLimit, check_fields
from app.errors import InvalidInput, ServingError
from app.one_by_one import OneByOne

LARGE_BYTES = 128 * 1024
"""Larger messages are read in turns."""

Refuse = Callable[[ServingError, ServicerContext], Awaitable[NoReturn]]


class Shortcut(Protocol):
    """Answers a method, some of its messages without parsing them."""

    def begun(self) -> None:
        """Called when a call begins, before its message arrives."""
        ...

    async def answer(self, data: bytes, context: ServicerContext, parse: Callable[[], Awaitable[Any]]) -> object:
        """The reply to a message: a message, or its bytes. ``parse`` returns the request, or ends the call."""
        ...


# From a new connection to the answer of a health check: accept, read, write.
TURNS_BETWEEN = 3


class ReadableRequests(ServerInterceptor):  # type: ignore[misc]
    """Passes only valid messages to the methods.

    Args:
        refuse: ends a call with an error.
        limits: path of a method -> what its requests may have; those of others are not parsed.
        limit_bytes: most bytes of a message, and in memory of its whole numbers.
        shortcuts: by path of a method.
    """

    def __init__(
        self, refuse: Refuse, limits: Mapping[str, FieldLimit], limit_bytes: int, shortcuts: Mapping[str, Shortcut]
    ) -> None:
        self._refuse = refuse
        self._shortcuts = shortcuts
        self._limits = limits
        self._limit_bytes = limit_bytes
        self._turns = OneByOne(TURNS_BETWEEN)
        self._guarded: dict[str, RpcMethodHandler] = {}

    async def intercept_service(
        self, continuation: Callable[[HandlerCallDetails], Awaitable[Any]], handler_call_details: HandlerCallDetails
    ) -> RpcMethodHandler | None:
        """Called by gRPC to find a method."""
        path = handler_call_details.method
        if (shortcut := self._shortcuts.get(path)) is not None:
            shortcut.begun()
        if (guarded := self._guarded.get(path)) is not None:
            return guarded
        handler = await continuation(handler_call_details)
        if handler is None:
            return None
        guarded = self._guarded[path] = _guarded(
            handler,
            path,
            self._refuse,
            self._limits.get(path),
            self._limit_bytes,
            self._turns,
            shortcut,
        )
        return guarded


def _guarded(
    handler: Any,
    path: str,
    refuse: Refuse,
    limit: FieldLimit | None,
    limit_bytes: int,
    turns: OneByOne,
    shortcut: Shortcut | None,
) -> RpcMethodHandler:
    parse = handler.request_deserializer

    def read(data: bytes) -> object:
        """The message, or the error that refuses it: an exception here would be a server error."""
        try:
            if limit is not None:
                check_fields(data, limit, limit_bytes)
            return parse(data)
        except InvalidInput as error:
            return error
        except (DecodeError, ValueError):
            return InvalidInput(f"the request of {path} is not a message of that method: its bytes cannot be read")

    async def readable(data: bytes, context: ServicerContext) -> object:
        if len(data) > LARGE_BYTES:
            await turns.next()
        request = read(data)
        if isinstance(request, ServingError):
            await refuse(request, context)
        return request

    # Without a deserializer, which cannot wait: the next handler gets the bytes.
    if handler.request_streaming:

        async def each_readable(messages: AsyncIterator[bytes]) -> AsyncIterator[object]:
            """The requests, with the errors in their places: those that can be read are answered."""
            async for data in messages:
                if len(data) > LARGE_BYTES:
                    await turns.next()
                yield read(data)

        async def answer_each(messages: AsyncIterator[bytes], context: ServicerContext) -> None:
            await handler.stream_stream(each_readable(messages), context)

        return grpc.stream_stream_rpc_method_handler(answer_each, response_serializer=handler.response_serializer)
    if handler.response_streaming:
        stream = handler.unary_stream

        async def answer_stream(data: bytes, context: ServicerContext) -> AsyncIterator[object]:
            async for each in stream(await readable(data, context), context):
                yield each

        return grpc.unary_stream_rpc_method_handler(answer_stream, response_serializer=handler.response_serializer)
    unary, serialize = handler.unary_unary, handler.response_serializer
    if shortcut is None:

        async def answer(data: bytes, context: ServicerContext) -> object:
            return await unary(await readable(data, context), context)

        return grpc.unary_unary_rpc_method_handler(answer, response_serializer=serialize)

    async def answer_shortly(data: bytes, context: ServicerContext) -> object:
        return await shortcut.answer(data, context, partial(readable, data, context))

    return grpc.unary_unary_rpc_method_handler(
        answer_shortly, response_serializer=lambda reply: reply if isinstance(reply, bytes) else serialize(reply)
    )
