"""Requests to the protocol of a connection, without sockets: packets in, packets out."""

import asyncio
from typing import Any

REQUESTS = 4_000


async def over_connections(
    app: Any, settings: Any, requests: list[tuple[dict[str, Any], bytes]], concurrency: int
) -> None:
    """Send ``REQUESTS`` requests over so many connections; each sends the next one after its reply."""
    from uvicorn.server import ServerState

    from app.edge.connection.joint import JointProtocol
    from app.wiring.server import uvicorn_config

    packets = [_packet(*request) for request in requests]
    config, state, loop = uvicorn_config(app, settings), ServerState(), asyncio.get_running_loop()
    lines = []
    for number in range(concurrency):
        protocol = JointProtocol(config=config, server_state=state, app_state={})
        line = Line(protocol, [packets[i % len(packets)] for i in range(number, REQUESTS, concurrency)], loop)
        protocol.connection_made(line)
        lines.append(line)
    for line in lines:
        line.send()
    await asyncio.gather(*(line.done for line in lines))
    for line in lines:
        line.protocol.connection_lost(None)


class Line(asyncio.Transport):
    """A client: gives the protocol its packets, one for each reply.

    Args:
        protocol: of the connection.
        packets: whole requests.
        loop: calls the protocol.
    """

    def __init__(self, protocol: Any, packets: list[bytes], loop: asyncio.AbstractEventLoop) -> None:
        super().__init__({"peername": ("127.0.0.1", 1), "sockname": ("127.0.0.1", 2)})
        self.protocol = protocol
        self._left = packets[::-1]
        self._loop = loop
        self.done = loop.create_future()

    def send(self) -> None:
        """Send the next packet, in a turn of the event loop as a socket would."""
        if self._left:
            self._loop.call_soon(self.protocol.data_received, self._left.pop())
        elif not self.done.done():
            self.done.set_result(None)

    def write(self, data: Any) -> None:
        """A reply."""
        if not data.startswith(b"HTTP/1.1 200 "):
            raise RuntimeError(data[:200])
        self.send()

    def is_closing(self) -> bool:
        """Never."""
        return False

    def close(self) -> None:
        """Nothing to close."""

    def get_write_buffer_size(self) -> int:
        """Nothing waits."""
        return 0

    def pause_reading(self) -> None:
        """Not supported: the next packet follows the reply."""

    def resume_reading(self) -> None:
        """See ``pause_reading``."""


def _packet(scope: dict[str, Any], body: bytes) -> bytes:
    lines = [b"%b: %b\r\n" % header for header in scope["headers"]]
    return b"POST %b HTTP/1.1\r\n%b\r\n%b" % (scope["path"].encode(), b"".join(lines), body)
