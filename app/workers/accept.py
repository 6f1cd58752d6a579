"""Accepts new connections in the worker with the fewest connections.

All workers wait at one listening socket. Left to themselves, the first one that wakes takes all of them, and a
client that opens its connections together keeps a single worker busy. So each worker states in shared memory how many
connections it has, takes one at a time, and leaves it to a worker with fewer for a moment. One that can answer nothing
but 503 leaves all to the others, as long as there are any.
"""

import asyncio
import mmap
import os
import socket
import tempfile
from collections.abc import Callable

from app.edge.entry.tls import TlsTimes
from app.workers.channel import log

# A worker with more connections than another one waits this long for that one to wake up.
PATIENCE_S = 0.002
# Taken immediately when the other did not: it is busy.
MOST_AT_ONCE = 8
# After the system has refused one.
FULL_PAUSE_S = 1.0
# Interval at which a worker that leaves all connections to others checks whether there are any others.
USELESS_PAUSE_S = 0.1
CLOSED = -1
_BYTES = 4


class ConnectionCounts:
    """Connections of each worker, in memory that all of them share.

    Args:
        descriptor: of the memory; see ``make``.
        workers: their numbers run from 1 to this.
    """

    def __init__(self, descriptor: int, workers: int) -> None:
        self.descriptor = descriptor
        self._counts = memoryview(mmap.mmap(descriptor, workers * _BYTES)).cast("i")

    @classmethod
    def make(cls, workers: int) -> "ConnectionCounts":
        """New memory in which no worker takes connections yet."""
        if hasattr(os, "memfd_create"):
            descriptor = os.memfd_create("atelier-connections")
        else:
            with tempfile.TemporaryFile() as file:
                descriptor = os.dup(file.fileno())
        os.truncate(descriptor, workers * _BYTES)
        made = cls(descriptor, workers)
        for worker in range(1, workers + 1):
            made.set(worker, CLOSED)
        return made

    def set(self, worker: int, count: int) -> None:
        """Set the number of connections of a worker; ``CLOSED``: it accepts none."""
        self._counts[worker - 1] = count

    def fewest(self, but: int) -> int | None:
        """Connections of the worker that has the fewest of those that take any, without the one of number ``but``."""
        others = [count for place, count in enumerate(self._counts) if count != CLOSED and place != but - 1]
        return min(others, default=None)


class Acceptor:
    """Takes connections from one listening socket; to uvicorn it is one of its servers.

    Args:
        listening: the socket.
        protocol: makes the protocol of a connection.
        worker: number of this one.
        counts: of all.
        own: connections that this worker has.
        tls: how connections are encrypted; None: without encryption.
        is_useful: whether it can answer requests.
    """

    def __init__(
        self,
        listening: socket.socket,
        protocol: Callable[[], asyncio.Protocol],
        *,
        worker: int,
        counts: ConnectionCounts,
        own: Callable[[], int],
        tls: TlsTimes | None = None,
        is_useful: Callable[[], bool] = lambda: True,
    ) -> None:
        self._listening, self._protocol = listening, protocol
        self._worker, self._counts, self._own = worker, counts, own
        self._is_useful = is_useful
        self._tls: TlsTimes = tls or {}
        self._loop = asyncio.get_running_loop()
        self._connecting: set[asyncio.Task[None]] = set()
        self._later: asyncio.TimerHandle | None = None
        self._is_closed = False
        listening.setblocking(False)
        self.tell()
        self._loop.add_reader(listening, self._somebody_came)

    def tell(self) -> int:
        """Publish how many connections this worker has, or that it accepts none."""
        count = self._own() + len(self._connecting)
        self._counts.set(self._worker, count if self._is_useful() else CLOSED)
        return count

    def close(self) -> None:
        """Stop accepting connections. Those that wait already are taken, unless another worker is there for them."""
        self._counts.set(self._worker, CLOSED)
        if not self._is_closed and self._counts.fewest(self._worker) is None:
            while self._take():
                pass
        self._is_closed = True
        self._counts.set(self._worker, CLOSED)
        self._loop.remove_reader(self._listening)
        if self._later is not None:
            self._later.cancel()

    async def wait_closed(self) -> None:
        """Return when every accepted connection has its protocol."""
        if self._connecting:
            await asyncio.wait(self._connecting)

    def _somebody_came(self) -> None:
        fewest = self._counts.fewest(self._worker)
        own = self.tell()
        if fewest is not None and not self._is_useful():
            self._look_again_in(USELESS_PAUSE_S, self._watch)
        elif fewest is not None and fewest < own:
            self._look_again_in(PATIENCE_S, self._take_what_is_left)
        else:
            self._take()

    def _look_again_in(self, seconds: float, look: Callable[[], None]) -> None:
        self._loop.remove_reader(self._listening)
        self._later = self._loop.call_later(seconds, look)

    def _watch(self) -> None:
        self._later = None
        self._loop.add_reader(self._listening, self._somebody_came)

    def _take_what_is_left(self) -> None:
        self._later = None
        for _ in range(MOST_AT_ONCE):
            if not self._take():
                break
        if self._later is None:
            self._watch()

    def _take(self) -> bool:
        """Accept one connection; False if none waits, or none can be accepted now."""
        try:
            connection, _ = self._listening.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return False
        except OSError as error:  # no more file descriptors: the connection waits, and so does this worker
            log.error("a connection cannot be taken: %s", error)
            self._look_again_in(FULL_PAUSE_S, self._take_what_is_left)
            return False
        connection.setblocking(False)
        if connection.family != socket.AF_UNIX:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        task = self._loop.create_task(self._connect(connection))
        self._connecting.add(task)
        task.add_done_callback(self._connected)
        self.tell()
        return True

    def _connected(self, task: asyncio.Task[None]) -> None:
        """The connection is one of ``own`` by now, or has failed: it is no longer counted as connecting."""
        self._connecting.discard(task)
        if not self._is_closed:
            self.tell()

    async def _connect(self, connection: socket.socket) -> None:
        try:
            await self._loop.connect_accepted_socket(self._protocol, connection, **self._tls)
        except OSError:  # the client has left, or cannot agree on TLS
            connection.close()
