"""A replica behind the ingress of several groups: it gets requests as calls, since Serve takes HTTP at one place."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

from app.edge.respond import Message, Receive
from deploy.ray.replica import Replica

if TYPE_CHECKING:
    from ray.serve.handle import DeploymentHandle


class GroupReplica(Replica):
    """See ``Replica``; runs the lifespan of the application itself."""

    async def __init__(self, arguments: Mapping[str, Any], group: str, counts: "DeploymentHandle") -> None:  # type: ignore[misc]
        super().__init__(arguments, group, counts)
        self._asgi = await self.__serve_build_asgi_app__()
        self._running = AsyncExitStack()
        await self._running.enter_async_context(self._atelier.lifespan(self._atelier))

    async def __del__(self) -> None:
        """Called by Serve once no request is in progress."""
        await self._running.aclose()

    async def answer(self, scope: Mapping[str, Any], body: bytes) -> list[Message]:
        """The ASGI messages that answer a request.

        Args:
            scope: of ASGI, without what cannot be sent to another process.
            body: all of it.
        """
        return [message async for message in self.stream(scope, body)]

    async def stream(self, scope: Mapping[str, Any], body: bytes) -> AsyncIterator[Message]:
        """The same messages, each as soon as it is sent."""
        messages: asyncio.Queue[Message | None] = asyncio.Queue()

        async def run() -> None:
            try:
                await self._asgi(dict(scope), _receive(body), messages.put)
            finally:
                messages.put_nowait(None)

        task = asyncio.create_task(run())
        try:
            while (message := await messages.get()) is not None:
                yield message
            await task
        finally:
            task.cancel()


def _receive(body: bytes) -> Receive:
    """The body as one message; if the client leaves, the ingress cancels the call."""
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Message:
        if messages:
            return messages.pop()
        await asyncio.Event().wait()
        raise AssertionError("the event is never set")

    return receive
