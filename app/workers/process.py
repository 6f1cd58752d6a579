"""One worker process, started by the supervisor: ``python -m app.workers.process NUMBER``, a file descriptor."""

import asyncio
import logging
import signal
import socket
import sys
from collections.abc import Sequence
from typing import Any

from app.lifecycle.readiness import backends_hang
from app.main import create_app
from app.settings import Settings
from app.telemetry.logging import configure_logging
from app.wiring.application import Atelier
from app.wiring.server import Server, uvicorn_config
from app.workers.accept import Acceptor, ConnectionCounts
from app.workers.channel import receive_first
from app.workers.hang import REPLACE_AFTER_S, Hang
from app.workers.link import Link

log = logging.getLogger("atelier.workers")

CANNOT_LISTEN = 2


class WorkerServer(Server):
    """The service in a worker process: besides serving, it answers its supervisor, and ends with it."""

    def __init__(
        self,
        app: Atelier,
        settings: Settings,
        link: Link,
        *,
        worker: int,
        counts: ConnectionCounts,
        admin_sockets: Sequence[socket.socket] = (),
    ) -> None:
        super().__init__(uvicorn_config(app, settings), settings)
        self._app = app
        self._link = link
        self._worker = worker
        self._counts = counts
        self._admin_sockets = admin_sockets
        self._acceptors: list[Acceptor] = []
        self._hang = Hang()

    async def serve(self, sockets: Any = None) -> None:
        """Run until a signal ends it, or the supervisor does."""
        await self._link.open(self._app)
        watching = asyncio.create_task(self._end_with_supervisor())
        try:
            await super().serve(sockets)
        finally:
            watching.cancel()
            await self._link.close()

    async def startup(self, sockets: Any = None) -> None:
        """Start to accept requests."""
        await super().startup([])
        self._acceptors = [
            Acceptor(
                each,
                protocol,
                worker=self._worker,
                counts=self._counts,
                own=self._connections,
                tls=None if each.family == socket.AF_UNIX else self.tls_times(),
                is_useful=lambda: not backends_hang(self._app.registry),
            )
            for of_kind, protocol in ((sockets, self.protocol), (self._admin_sockets, self.protocol_for_admin))
            for each in of_kind
        ]
        self.servers = [*self._acceptors]  # type: ignore[list-item]
        self._link.serving()

    async def shutdown(self, sockets: Any = None) -> None:
        """Accept no more connections, and finish requests in progress."""
        for each in self._acceptors:
            each.close()
            await each.wait_closed()
        await super().shutdown(sockets)

    async def on_tick(self, counter: int) -> bool:
        """Ten times a second."""
        for each in self._acceptors:
            each.tell()
        self._make_room()
        return await super().on_tick(counter)

    def _make_room(self) -> None:
        """End, so that another worker is started, as the last resort, if another worker takes connections."""
        registry = self._app.registry
        is_final = self._hang.is_final(hangs=backends_hang(registry))
        if is_final and not registry.draining and self._counts.fewest(self._worker) is not None:
            log.error("the backends of all models have hung for %g s; another worker takes over", REPLACE_AFTER_S)
            self.handle_exit(signal.SIGTERM, None)

    async def _open_admin_sockets(self) -> list[socket.socket]:
        return []  # the supervisor has opened them

    def _close_admin(self) -> None:
        pass  # the supervisor does

    def _connections(self) -> int:
        return len(self.server_state.connections)

    async def _end_with_supervisor(self) -> None:
        await self._link.ended()
        if not self._app.registry.draining:
            log.error("the process that supervises this worker is gone; it ends too")
            self.handle_exit(signal.SIGTERM, None)


def main(descriptor: int) -> int:
    """Run a worker.

    Args:
        descriptor: this end of the channel. Its first message has the other arguments.

    Returns:
        The exit code.
    """
    end = socket.socket(fileno=descriptor)
    try:
        start = receive_first(end)
    except EOFError:  # the supervisor has ended
        return 0
    settings = Settings(**start["settings"])
    configure_logging(level=settings.log_level, form=settings.log_format, worker=start["worker"])
    link = Link(end, unloaded=start["unloaded"], loads_first=start["loads_first"])
    app = create_app(settings, link)
    counts = ConnectionCounts(start["counts"], settings.workers)
    sockets, admin_sockets = (
        [socket.socket(fileno=number) for number in start[kind]] for kind in ("sockets", "admin_sockets")
    )
    try:
        server = WorkerServer(app, settings, link, worker=start["worker"], counts=counts, admin_sockets=admin_sockets)
        server.run(sockets)
    except SystemExit as error:  # uvicorn exits so if the application did not start; its log line has the reason
        return CANNOT_LISTEN if app.startup_error is not None else int(error.code or 0)
    return 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))
