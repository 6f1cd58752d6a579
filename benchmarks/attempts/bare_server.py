"""The least that can answer images: what a request costs when nothing is checked, bounded, counted or explained.

uvloop, httptools, the bodies of a turn of the event loop in one list, one call of ONNX Runtime, one write for each
reply. A body is the bytes of an image, or V1 JSON if it begins with a brace; a wrong one ends the process. So it shows
how much of a request's time the features of the service could ever give back. ``serving --only bare,atelier,floor``
measures it.
"""

import asyncio
from typing import Any, Protocol

import httptools
import numpy as np
import orjson
import simdjson
from network import Network, port

SIDE = 28
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"


class Answers(Protocol):
    """Answers requests."""

    def add(self, transport: asyncio.Transport, body: bytes) -> None:
        """Answer one, now or later."""
        ...


class Turn:
    """The requests of one turn of the event loop."""

    def __init__(self, network: Network, loop: asyncio.AbstractEventLoop) -> None:
        self._network, self._loop = network, loop
        self._parser = simdjson.Parser()
        self._waiting: list[tuple[asyncio.Transport, bytes]] = []

    def add(self, transport: asyncio.Transport, body: bytes) -> None:
        """Answer a request at the end of this turn."""
        if not self._waiting:
            self._loop.call_soon(self._answer)
        self._waiting.append((transport, body))

    def _answer(self) -> None:
        waiting, self._waiting = self._waiting, []
        bodies = [body if body[:1] != b"{" else self._pixels(body) for _, body in waiting]
        pixels = np.frombuffer(b"".join(bodies), np.uint8).reshape(-1, SIDE, SIDE)
        for (transport, _), row in zip(waiting, self._network.images(pixels), strict=True):
            body = b'{"predictions":[%b]}' % orjson.dumps(row, option=orjson.OPT_SERIALIZE_NUMPY)
            transport.write(HEAD % len(body) + body)

    def _pixels(self, body: bytes) -> bytes:
        numbers = self._parser.parse(body)["instances"].as_buffer(of_type="i")
        return np.frombuffer(numbers, np.int64).astype(np.uint8).tobytes()


class Connection(asyncio.Protocol):
    """One client."""

    def __init__(self, answers: Answers) -> None:
        self._answers, self._body = answers, b""
        self._parser = httptools.HttpRequestParser(self)

    def connection_made(self, transport: Any) -> None:
        """Keep where to write."""
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Parse."""
        self._parser.feed_data(data)

    def on_body(self, body: bytes) -> None:
        """Keep a part of the body."""
        self._body += body

    def on_message_complete(self) -> None:
        """Answer."""
        body, self._body = self._body, b""
        self._answers.add(self._transport, body)


async def main() -> None:
    """Serve until the process is ended."""
    loop = asyncio.get_running_loop()
    turn = Turn(Network(), loop)
    server = await loop.create_server(lambda: Connection(turn), "127.0.0.1", port())
    await server.serve_forever()


if __name__ == "__main__":
    import uvloop

    uvloop.run(main())
