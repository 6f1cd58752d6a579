"""One owner of the model behind several HTTP processes, fed through shared memory: a prototype, not used.

``python -m benchmarks.attempts.sharing`` compares it with processes that have a model each. Like
``bare_server``, it checks nothing of a request. It is bounded and survives its parts: a full ring is answered with 503,
a front that ends loses only its own requests, and what an owner had when it ended is answered with 503 by the fronts,
which connect to the next owner.

Roles, each a process: ``front`` reads requests and writes answers, ``owner`` runs batches of all fronts' rows,
``alone`` does both.
"""

import asyncio
import contextlib
import json
import os
import selectors
import signal
import socket
import sys
from collections import deque
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from bare_server import Answers, Connection
from network import Network

SIDE, CLASSES = 28, 10
SLOTS = 1024
"""Requests of one front that wait for the owner."""
MOST_ROWS = 32
PATH_BYTES = 256
"""Of the first message of a front: the path of its ring, padded with spaces."""
RETRY_S = 0.02
OK = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b"
BUSY = b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n"


class Ring:
    """Rows of one front in shared memory, and their answers; the front counts ``head`` up, the owner ``done``.

    Args:
        path: of its file, on a file system in memory.
        create: whether it is new.
    """

    def __init__(self, path: str, *, create: bool) -> None:
        self.path = path
        pixels = 64 + SLOTS * SIDE * SIDE
        shape = (pixels + SLOTS * CLASSES * 4,)
        memory = np.memmap(path, np.uint8, "w+" if create else "r+", shape=shape).view(np.ndarray)
        self._counts = memory[:16].view(np.uint64)
        self.rows = memory[64:pixels].reshape(SLOTS, SIDE, SIDE)
        self.answers = memory[pixels:].view(np.float32).reshape(SLOTS, CLASSES)

    @property
    def head(self) -> int:
        """Rows that were written, ever."""
        return int(self._counts[0])

    @head.setter
    def head(self, value: int) -> None:
        self._counts[0] = value

    @property
    def done(self) -> int:
        """Rows that were answered, ever."""
        return int(self._counts[1])

    @done.setter
    def done(self, value: int) -> None:
        self._counts[1] = value


class Counted:
    """The network; at SIGTERM it writes the number of its batches and rows, and the process ends."""

    def __init__(self, stats: str) -> None:
        self._network, self._batches, self._rows, self._stats = Network(), 0, 0, stats
        self._network.images(np.zeros((1, SIDE, SIDE), np.uint8))
        signal.signal(signal.SIGTERM, self._end)

    def images(self, pixels: Any) -> Any:
        """uint8 (rows, 28, 28) to float32 (rows, 10)."""
        self._batches += 1
        self._rows += len(pixels)
        return self._network.images(pixels)

    def _end(self, *_: object) -> None:
        Path(self._stats).write_text(json.dumps({"batches": self._batches, "rows": self._rows}), encoding="utf-8")
        os._exit(0)


def own(path: str, network: Counted) -> None:
    """Run batches of the rows of all fronts that connect to the Unix socket ``path``, until SIGTERM."""
    Path(path).unlink(missing_ok=True)
    door = socket.socket(socket.AF_UNIX)
    door.bind(path)
    door.listen()
    ready = selectors.DefaultSelector()
    ready.register(door, selectors.EVENT_READ)
    rings: dict[socket.socket, Ring] = {}
    while True:
        waits = any(ring.head > ring.done for ring in rings.values())
        for key, _ in ready.select(0 if waits else None):
            if key.fileobj is door:
                front, _ = door.accept()
                rings[front] = Ring(front.recv(PATH_BYTES, socket.MSG_WAITALL).decode().strip(), create=False)
                ready.register(front, selectors.EVENT_READ)
            else:
                front = key.fileobj  # type: ignore[assignment]
                if not _told(front):
                    ready.unregister(front)
                    del rings[front]
                    front.close()
        parts = _parts(rings)
        if not parts:
            continue
        answers = network.images(np.concatenate([ring.rows[at] for _, ring, at in parts]))
        first = 0
        for front, ring, at in parts:
            ring.answers[at] = answers[first : first + len(at)]
            first += len(at)
            ring.done += len(at)
            with contextlib.suppress(OSError):  # it has ended, or has not read what it was told before
                front.send(b"\1", socket.MSG_DONTWAIT)


def _told(front: socket.socket) -> bool:
    try:
        return bool(front.recv(4096))
    except OSError:
        return False


def _parts(rings: dict[socket.socket, Ring]) -> list[tuple[socket.socket, Ring, Any]]:
    """The rows of the next batch, of each front its share: (front, ring, places)."""
    waiting = [(front, ring, ring.head - ring.done) for front, ring in rings.items() if ring.head > ring.done]
    share = max(1, MOST_ROWS // max(1, len(waiting)))
    return [
        (front, ring, np.arange(ring.done, ring.done + min(count, share)) % SLOTS) for front, ring, count in waiting
    ]


class Alone:
    """Runs the rows of a turn of the event loop in this process."""

    def __init__(self, network: Counted) -> None:
        self._network = network
        self._waiting: list[tuple[asyncio.Transport, bytes]] = []

    def add(self, transport: asyncio.Transport, body: bytes) -> None:
        """See ``Answers``."""
        if not self._waiting:
            asyncio.get_running_loop().call_soon(self._run)
        self._waiting.append((transport, body))

    def _run(self) -> None:
        waiting, self._waiting = self._waiting, []
        rows = np.frombuffer(b"".join(body for _, body in waiting), np.uint8).reshape(-1, SIDE, SIDE)
        for first in range(0, len(waiting), MOST_ROWS):
            found = self._network.images(rows[first : first + MOST_ROWS])
            for (transport, _), row in zip(waiting[first : first + MOST_ROWS], found, strict=True):
                reply(transport, row)


class Shared(asyncio.Protocol):
    """Hands rows to the owner at ``path``, and connects to the next one when it ends."""

    def __init__(self, path: str) -> None:
        self._path, self._ring = path, Ring(f"{path}.{os.getpid()}", create=True)
        self._waiting: deque[asyncio.Transport] = deque()
        self._head = self._done = 0
        self._owner: Any = None

    async def connect(self) -> None:
        """Wait for an owner."""
        while self._owner is None:
            with contextlib.suppress(OSError):
                await asyncio.get_running_loop().create_unix_connection(lambda: self, self._path)
                return
            await asyncio.sleep(RETRY_S)

    def add(self, transport: asyncio.Transport, body: bytes) -> None:
        """See ``Answers``; 503 if there is no owner, or too much waits for it."""
        if self._owner is None or self._head - self._done >= SLOTS:
            send(transport, BUSY)
            return
        self._ring.rows[self._head % SLOTS] = np.frombuffer(body, np.uint8).reshape(SIDE, SIDE)
        self._waiting.append(transport)
        if self._head == self._ring.head:  # the first of this turn
            asyncio.get_running_loop().call_soon(self._tell)
        self._head += 1

    def _tell(self) -> None:
        self._ring.head = self._head
        if self._owner is not None:
            self._owner.write(b"\1")

    def connection_made(self, transport: Any) -> None:
        """An owner: it gets the ring, with nothing in it."""
        self._ring.head = self._ring.done = self._head = self._done = 0
        transport.write(self._ring.path.encode().ljust(PATH_BYTES))
        self._owner = transport

    def data_received(self, data: bytes) -> None:
        """A batch has run."""
        done = self._ring.done
        for number in range(self._done, done):
            reply(self._waiting.popleft(), self._ring.answers[number % SLOTS])
        self._done = done

    def connection_lost(self, error: Exception | None) -> None:
        """The owner has ended, with all that it had."""
        self._owner = None
        while self._waiting:
            send(self._waiting.popleft(), BUSY)
        self._reconnecting = asyncio.ensure_future(self.connect())


def reply(transport: asyncio.Transport, row: Any) -> None:
    """Write the probabilities."""
    body = b'{"predictions":[%b]}' % orjson.dumps(row, option=orjson.OPT_SERIALIZE_NUMPY)
    send(transport, OK % (len(body), body))


def send(transport: asyncio.Transport, data: bytes) -> None:
    """Write to a client, unless it has left."""
    if not transport.is_closing():
        transport.write(data)


async def serve(answers: Answers, port: int) -> None:
    """Listen at a port that other fronts may have too, until the process is ended."""
    if isinstance(answers, Shared):
        await answers.connect()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(answers), "127.0.0.1", port, reuse_port=True)
    await server.serve_forever()


if __name__ == "__main__":
    import uvloop

    role, *rest = sys.argv[1:]
    if role == "owner":
        own(rest[0], Counted(rest[1]))
    elif role == "alone":
        uvloop.run(serve(Alone(Counted(rest[1])), int(rest[0])))
    else:
        uvloop.run(serve(Shared(rest[1]), int(rest[0])))
