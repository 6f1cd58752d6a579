"""uvicorn with the listeners of the service, and with the shutdown order that a load balancer requires."""

import asyncio
import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from queue import Empty, SimpleQueue
from types import FrameType
from typing import Any

import uvicorn

from app.batching.instance_thread import any_runs
from app.control.peer import ADMIN_LISTENER
from app.edge.connection.joint import JointProtocol
from app.edge.entry.bind import BACKLOG, Bind, listen_for_clients
from app.edge.entry.tls import TlsTimes, tls_times
from app.errors import CannotListen
from app.settings import Settings

log = logging.getLogger("atelier.server")

# Seconds after ``drain_delay_s`` and ``shutdown_timeout_s`` after which the process ends in any case.
OVERRUN_S = 10.0
# Seconds for threads that load or read the disk to return once no request is open any more.
LEFT_BEHIND_S = 2.0


def uvicorn_config(app: Any, settings: Settings) -> uvicorn.Config:
    """uvicorn's configuration for ``app``, an ``Atelier``."""
    tls = settings.tls
    return uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        http=JointProtocol,
        ws="none",  # a request to upgrade is answered as if it did not ask; see `parsing`
        log_config=None,
        access_log=False,
        # Nothing here uses the client's address, and both would cost every request some microseconds.
        proxy_headers=False,
        server_header=False,
        ssl_context_factory=None if tls is None else lambda *_: tls.context(),
        timeout_graceful_shutdown=round(settings.shutdown_timeout_s) + 1,
    )


class Server(uvicorn.Server):
    """uvicorn with the shutdown order of a service behind a load balancer.

    On SIGTERM: ready turns false; after ``drain_delay_s`` the sockets close; queued and running work finishes
    within ``shutdown_timeout_s``, the rest is answered 503; the process exits with 0. A second signal ends it now.
    """

    def __init__(self, config: uvicorn.Config, settings: Settings) -> None:
        super().__init__(config)
        self._settings = settings
        self._app: Any = config.app
        self._loop: asyncio.AbstractEventLoop | None = None
        # For the process that ``run`` ends; a caller that serves within its own process keeps the setting.
        self._limit: _Limit | None = None
        self._public = Bind(settings.host, settings.port)
        # The sockets that this process has opened itself for ``_public``; those of workers come from their supervisor.
        self._own: list[socket.socket] = []
        self._admin = None if settings.admin_bind is None else Bind.parse(settings.admin_bind)

    def run(self, sockets: Any = None) -> None:
        """Run until a signal ends it; exit immediately with 0 if a backend call has not returned by then."""
        self._limit = _Limit()
        super().run(sockets)
        if any_runs() or self._app.decode_pool.runs or self._app.lifecycle.any_load_runs:
            logging.shutdown()
            os._exit(0)

    async def serve(self, sockets: Any = None) -> None:
        """Run until a signal ends it.

        Raises:
            CannotListen: see ``listen_for_clients``.
        """
        self._loop = asyncio.get_running_loop()
        if sockets is None:  # before anything starts; uvicorn would load the models first
            self._own = await listen_for_clients(self._public)
        await super().serve(sockets)
        if self._limit is not None and self._app.registry.draining:
            self._limit.end_within(LEFT_BEHIND_S)

    async def startup(self, sockets: Any = None) -> None:
        """Listen, also for administrators if they have their own address."""
        admin_sockets = await self._open_admin_sockets()
        await super().startup(sockets or [])
        began, self.started = self.started, False  # only once all addresses are served
        for each in self._own:
            self.servers.append(await self._serve_at(each, self.protocol))
        for each in admin_sockets:
            self.servers.append(await self._serve_at(each, self.protocol_for_admin))
        if self._own:
            address = bound(self._public, self._own)
            log.info("Uvicorn running on %s://%s (Press CTRL+C to quit)", self._settings.scheme, address)
        self.started = began

    async def _serve_at(self, listening: socket.socket, protocol: Callable[[], asyncio.Protocol]) -> asyncio.Server:
        loop = asyncio.get_running_loop()
        if listening.family == socket.AF_UNIX:  # its clients are on this machine
            return await loop.create_unix_server(protocol, sock=listening, backlog=BACKLOG)
        return await loop.create_server(protocol, sock=listening, backlog=BACKLOG, **self.tls_times())

    def tls_times(self) -> TlsTimes:
        """TLS of the listeners."""
        return tls_times(self.config.ssl, handshake_timeout_s=self._settings.head_timeout_s)

    def protocol(self, *, is_admin: bool = False) -> asyncio.Protocol:
        """The protocol of a new connection."""
        state = self.lifespan.state
        return JointProtocol(
            config=self.config,
            server_state=self.server_state,
            app_state={**state, ADMIN_LISTENER: True} if is_admin else state,
        )

    def protocol_for_admin(self) -> asyncio.Protocol:
        """The protocol of a new connection at the listener for administrators."""
        return self.protocol(is_admin=True)

    async def _open_admin_sockets(self) -> list[socket.socket]:
        if self._admin is None:
            return []
        try:
            sockets = await self._admin.listen()
        except CannotListen as error:
            log.error("%s", error)
            self._app.startup_error = error
            sys.exit(1)
        log.info("admin routes are answered at %s", bound(self._admin, sockets))
        return sockets

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Start to shut down. The signal is not raised again afterwards, so that the exit code is 0."""
        registry = self._app.registry
        if registry.draining or self._loop is None:
            self.should_exit = True
            self.force_exit = sig == signal.SIGINT or self.force_exit
            if (
                self.force_exit and self._loop is not None
            ):  # uvicorn no longer waits for connections; gRPC waits for its work
                self._loop.call_soon_threadsafe(self._app.fail_unfinished)
            return
        registry.start_draining()
        delay_s = self._settings.drain_delay_s
        if self._limit is not None:
            self._limit.end_within(delay_s + self._settings.shutdown_timeout_s + OVERRUN_S)
        self._loop.call_soon_threadsafe(self._leave)

    async def shutdown(self, sockets: Any = None) -> None:
        """Stop listening, for HTTP and gRPC together, and finish requests in progress."""
        if (grpc := self._app.grpc) is not None:
            grpc.begin_stop()
        await super().shutdown(sockets)
        self._close_admin()

    def _close_admin(self) -> None:
        if self._admin is not None:
            self._admin.close()

    def _leave(self) -> None:
        loop = asyncio.get_running_loop()
        delay_s = self._settings.drain_delay_s
        if delay_s:
            log.info("not ready from now on; connections are accepted for another %g s", delay_s)
        self._app.lifecycle.end_loads()
        loop.call_later(delay_s, setattr, self, "should_exit", True)
        loop.call_later(delay_s + self._settings.shutdown_timeout_s, self._app.fail_unfinished)


def bound(bind: Bind, sockets: list[socket.socket]) -> Bind:
    """The addresses of these sockets, with the port that was picked."""
    return bind if bind.port is None else Bind(bind.host, sockets[0].getsockname()[1])


class _Limit:
    """Ends the process when its time is over.

    Python waits for all threads of a pool, and a thread that reads from a hung file system never returns.
    """

    def __init__(self) -> None:
        # The one kind of queue that a signal handler may write to.
        self._ends: SimpleQueue[float] = SimpleQueue()
        threading.Thread(target=self._wait, name="shutdown-limit", daemon=True).start()

    def end_within(self, seconds: float) -> None:
        """End the process within ``seconds``, or earlier if an earlier call has set that."""
        self._ends.put(time.monotonic() + seconds)

    def _wait(self) -> None:
        end = self._ends.get()
        while (left := end - time.monotonic()) > 0:
            try:
                end = min(end, self._ends.get(timeout=left))
            except Empty:
                break
        # In a thread, because the reader of the log may have stopped reading.
        last = threading.Thread(
            target=log.warning, args=("the process ends although work has not: a load, or a look at the disk",)
        )
        last.daemon = True
        last.start()
        last.join(1.0)
        os._exit(0)
