"""Calls between the supervisor and one worker: JSON objects, each after its length, over a pair of Unix sockets."""

import asyncio
import itertools
import logging
import socket
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any

import orjson

from app import errors
from app.errors import ServingError

log = logging.getLogger("atelier.workers")

LENGTH_BYTES = 4
Handler = Callable[..., Awaitable[Any]]


class ChannelClosed(Exception):
    """The other end closed before it answered."""


class Channel:
    """One end of the pair. Either end may call the other, and several calls may be in progress.

    Args:
        handlers: name of a call -> what answers it; arguments come as keywords, results are JSON values. An error of
            the service is raised again at the end that called.
    """

    def __init__(self, handlers: Mapping[str, Handler]) -> None:
        self._handlers = handlers
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._answering: set[asyncio.Task[None]] = set()
        self._writer: asyncio.StreamWriter | None = None
        self._listening: asyncio.Task[None] | None = None

    async def open(self, end: socket.socket) -> None:
        """Take calls from now on."""
        reader, self._writer = await asyncio.open_unix_connection(sock=end)
        self._listening = asyncio.create_task(self._listen(reader))

    async def call(self, name: str, /, **arguments: Any) -> Any:
        """Call a handler of the other end; returns its answer.

        Raises:
            ServingError: it raised this.
            ChannelClosed: it is gone.
        """
        number = next(self._numbers)
        answer = self._waiting[number] = asyncio.get_running_loop().create_future()
        try:
            self._send({"call": name, "number": number, "arguments": arguments})
            return await answer
        finally:
            del self._waiting[number]

    def tell(self, name: str, /, **arguments: Any) -> None:
        """Call and expect no answer; no effect if the other end is closed."""
        try:
            self._send({"call": name, "arguments": arguments})
        except ChannelClosed:
            log.debug("nobody is there to be told %s", name)

    async def closed(self) -> None:
        """Return when the other end is closed and its messages are handled; its last calls may still run."""
        if self._listening is not None:
            await asyncio.wait([self._listening])
        await asyncio.sleep(0)  # tasks of the last messages get their first turn

    async def close(self) -> None:
        """Send the waiting messages, and close."""
        if self._writer is not None:
            self._writer.close()
        if self._listening is not None:
            self._listening.cancel()
            await asyncio.wait([self._listening])
        if self._writer is not None:
            with suppress(ConnectionError):
                await self._writer.wait_closed()

    def _send(self, message: Mapping[str, Any]) -> None:
        if self._writer is None or self._writer.is_closing():
            raise ChannelClosed
        data = orjson.dumps(message)
        self._writer.write(len(data).to_bytes(LENGTH_BYTES) + data)

    async def _listen(self, reader: asyncio.StreamReader) -> None:
        assert self._writer is not None
        try:
            while True:
                size = int.from_bytes(await reader.readexactly(LENGTH_BYTES))
                self._take(orjson.loads(await reader.readexactly(size)))
        except (asyncio.IncompleteReadError, ConnectionError):
            log.debug("the other end of a channel is gone")
        finally:
            self._writer.close()
            for future in self._waiting.values():
                if not future.done():
                    future.set_exception(ChannelClosed())

    def _take(self, message: dict[str, Any]) -> None:
        if "call" in message:
            task = asyncio.create_task(self._answer(message))
            self._answering.add(task)
            task.add_done_callback(self._answering.discard)
            return
        future = self._waiting.get(message["number"])
        if future is None or future.done():
            return
        if "error" in message:
            future.set_exception(_error(message["error"]))
        else:
            future.set_result(message["result"])

    async def _answer(self, message: dict[str, Any]) -> None:
        """Run the handler of a call; an error that is not the service's own is logged here, with its traceback."""
        try:
            reply = {"result": await self._handlers[message["call"]](**message["arguments"])}
        except ServingError as error:
            reply = {"error": [type(error).__name__, error.message]}
        except ChannelClosed:
            reply = {"error": ["Draining", "the service is shutting down"]}
        except Exception:
            log.exception("%s failed", message["call"])
            reply = {"error": ["ServingError", f"{message['call']} failed; see the service's log"]}
        if "number" in message:
            try:
                self._send({"number": message["number"], **reply})
            except ChannelClosed:
                log.debug("nobody waits for the answer to %s any more", message["call"])


def receive_first(end: socket.socket) -> dict[str, Any]:
    """The arguments of the first call, read before there is an event loop to open the channel.

    Raises:
        EOFError: the other end is gone.
    """
    with end.makefile("rb", buffering=0) as file:
        size = int.from_bytes(_exactly(file, LENGTH_BYTES))
        message: dict[str, Any] = orjson.loads(_exactly(file, size))
    arguments: dict[str, Any] = message["arguments"]
    return arguments


def _exactly(file: Any, size: int) -> bytes:
    data = b""
    while len(data) < size:
        part = file.read(size - len(data))
        if not part:
            raise EOFError
        data += part
    return data


def _error(described: list[str]) -> ServingError:
    """An error of the service, as ``_answer`` describes it."""
    kind, message = described
    error: ServingError = getattr(errors, kind)(message)
    return error
