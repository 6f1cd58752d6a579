"""``serve --workers N``: the parent of N worker processes, which share its listening socket.

uvicorn's own supervisor starts and replaces processes, but has no way to send them commands, ends them in no order and
cannot keep a new one from taking requests before its models are loaded; so this one is ours. It answers no request.
"""

import asyncio
import logging
import signal
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from app.edge.entry.bind import Bind, listen_for_clients
from app.settings import Settings
from app.wiring.repository import repository_of
from app.wiring.server import bound
from app.workers.accept import CLOSED, ConnectionCounts
from app.workers.channel import ChannelClosed, Handler
from app.workers.coordinator import Coordinator
from app.workers.handle import Worker, how_it_ended, start_worker
from app.workers.listen import hold_grpc_port
from app.workers.totals import Totals

if TYPE_CHECKING:
    import socket

log = logging.getLogger("atelier.supervisor")

# A worker that ends sooner is replaced after a pause, twice as long each time.
EARLY_S = 10.0
FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 30.0
# Workers report their counts every second.
HUNG_AFTER_S = 60.0
LOOK_EVERY_S = 5.0
# A scrape waits this long for the newest counts of a worker, and then uses the last known ones.
COUNTS_TIMEOUT_S = 1.0
# After a second Ctrl-C.
KILL_AFTER_S = 5.0


def supervise(settings: Settings) -> int:
    """Run ``settings.workers`` workers until a signal ends them.

    Returns:
        The exit code: 0 after a signal, or that of a worker if none of them can start.

    Raises:
        CannotListen: the address for HTTP or gRPC is taken, or does not belong to this machine.
    """
    return asyncio.run(Supervisor(settings).run())


class Supervisor:
    """Starts workers, replaces those that end, and carries signals, commands and counts.

    Args:
        settings: of all of them.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._workers: dict[int, Worker] = {}
        self._totals = Totals()
        self._coordinator = Coordinator(repository_of(settings), lambda: list(self._workers.values()))
        self._stopping = asyncio.Event()
        self._sockets: list[socket.socket] = []
        self._admin_sockets: list[socket.socket] = []
        self._counts = ConnectionCounts.make(settings.workers)
        self._is_announced = False
        self._has_loaded = False
        self._failed: set[int] = set()
        self._exit_code = 0

    async def run(self) -> int:
        """See ``supervise``."""
        settings = self._settings
        self._sockets = await listen_for_clients(Bind(settings.host, settings.port))
        held: list[socket.socket] = []
        if settings.grpc_port is not None:
            held = hold_grpc_port(settings.host, settings.grpc_port)
            self._settings = settings.model_copy(update={"grpc_port": held[0].getsockname()[1]})
        admin = None if settings.admin_bind is None else Bind.parse(settings.admin_bind)
        if admin is not None:
            self._admin_sockets = await admin.listen()
            log.info("admin routes are answered at %s", bound(admin, self._admin_sockets))
        loop = asyncio.get_running_loop()
        for sig in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(sig, self._on_signal, sig)
        watching = asyncio.create_task(self._end_hung())
        try:
            await asyncio.gather(*(self._keep(number) for number in range(1, settings.workers + 1)))
        finally:
            watching.cancel()
            for each in (*self._sockets, *self._admin_sockets, *held):
                each.close()
            if admin is not None:
                admin.close()
        return self._exit_code

    async def _keep(self, number: int) -> None:
        """Keep a worker of this number running until the service stops."""
        loads_first, early = False, 0
        while not self._stopping.is_set():
            began = time.monotonic()
            how, code = await self._run_one(number, loads_first=loads_first)
            if self._stopping.is_set():
                return
            if not self._has_loaded:
                self._failed.add(number)
                if len(self._failed) == self._settings.workers:
                    self._give_up(f"{how}; no worker could load its models", code)
                    return
            early = early + 1 if time.monotonic() - began < EARLY_S else 0
            pause_s = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2 ** (early - 1)) if early else 0.0
            log.error("%s; another one starts %s", how, f"in {pause_s:g} s" if pause_s else "now")
            with suppress(TimeoutError):
                async with asyncio.timeout(pause_s):
                    await self._stopping.wait()
            self._totals.restarted()
            loads_first = True

    async def _run_one(self, number: int, *, loads_first: bool) -> tuple[str, int]:
        """Run one worker to its end; how it ended, in words and as an exit code."""
        try:
            worker = await start_worker(
                number,
                [self._counts.descriptor, *(each.fileno() for each in (*self._sockets, *self._admin_sockets))],
                self._handlers(number),
                loads_first=loads_first,
            )
        except OSError as error:
            return f"worker {number} cannot be started: {error}", 1
        worker.channel.tell(
            "start",
            worker=number,
            settings=self._settings.model_dump(mode="json", exclude_unset=True),
            counts=self._counts.descriptor,
            sockets=[each.fileno() for each in self._sockets],
            admin_sockets=[each.fileno() for each in self._admin_sockets],
            unloaded=self._coordinator.unloaded,
            loads_first=loads_first,
        )
        self._workers[number] = worker
        if self._stopping.is_set():
            worker.stop()
        code = await worker.process.wait()
        self._counts.set(number, CLOSED)
        await worker.channel.closed()  # with its last counts
        del self._workers[number]
        self._tell_loaded()
        self._totals.ended(number)
        self._coordinator.ended(number)
        await worker.channel.close()
        return f"{worker} {how_it_ended(code)}", code

    def _handlers(self, number: int) -> dict[str, Handler]:
        """Handlers of the messages of a worker; they apply only while it is in ``_workers``."""

        async def heard(counts: dict[str, Any]) -> None:
            self._hear(self._workers[number], counts)
            await self._coordinator.judge(number, counts)

        async def serving() -> None:
            self._workers[number].is_serving = True
            log.info("%s takes requests", self._workers[number])
            self._announce()

        async def loaded() -> None:
            self._has_loaded = self._workers[number].is_loaded = True
            self._tell_loaded()

        own: dict[str, Handler] = {"heard": heard, "serving": serving, "loaded": loaded, "total": self._total}
        return {**self._coordinator.handlers, **own}

    def _hear(self, worker: Worker, counts: dict[str, Any]) -> None:
        worker.is_connected, worker.heard_at = True, time.monotonic()
        self._totals.heard(worker.number, counts)

    async def _total(self) -> dict[str, Any]:
        """The counts of all workers, requested now."""
        await asyncio.gather(*(self._ask_counts(each) for each in self._workers.values() if each.is_connected))
        serving = sum(each.is_serving for each in self._workers.values())
        return self._totals.document(workers=self._settings.workers, serving=serving)

    async def _ask_counts(self, worker: Worker) -> None:
        with suppress(TimeoutError, ChannelClosed):
            async with asyncio.timeout(COUNTS_TIMEOUT_S):
                counts = await worker.channel.call("counts")
            if self._workers.get(worker.number) is worker:
                self._hear(worker, counts)

    def _tell_loaded(self) -> None:
        """Let workers report ready once no request can reach one that still loads."""
        if all(worker.is_loaded for worker in self._workers.values()):
            for worker in self._workers.values():
                worker.channel.tell("all_loaded")

    def _announce(self) -> None:
        """Log the address of the service, in uvicorn's format, when the first worker accepts requests."""
        if not self._is_announced:
            self._is_announced = True
            host = f"[{self._settings.host}]" if ":" in self._settings.host else self._settings.host
            port = self._settings.port or self._sockets[0].getsockname()[1]
            log.info("Uvicorn running on %s://%s:%d (Press CTRL+C to quit)", self._settings.scheme, host, port)

    def _on_signal(self, sig: int) -> None:
        """The first signal lets all workers drain, a second one is forwarded to them."""
        if self._stopping.is_set():
            for worker in self._workers.values():
                worker.signal(sig)
            if sig == signal.SIGINT:
                asyncio.get_running_loop().call_later(KILL_AFTER_S, self._kill)
            return
        log.info("%s: %d workers finish what they have begun", signal.Signals(sig).name, len(self._workers))
        self._stop()

    def _stop(self) -> None:
        self._stopping.set()
        self._coordinator.draining = True
        for each in (
            *self._sockets,
            *self._admin_sockets,
        ):  # workers listen until they have drained; then no process does
            each.close()
        for worker in self._workers.values():
            worker.stop()

    def _give_up(self, why: str, code: int) -> None:
        log.error("%s", why)
        self._exit_code = code if code > 0 else 1
        self._stop()

    def _kill(self) -> None:
        for worker in self._workers.values():
            worker.signal(signal.SIGKILL)

    async def _end_hung(self) -> None:
        """End workers whose event loop does not get its turn any more; they are replaced."""
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            for worker in self._workers.values():
                if time.monotonic() - worker.heard_at > HUNG_AFTER_S:
                    log.error("%s has said nothing for %g s and is ended", worker, HUNG_AFTER_S)
                    worker.signal(signal.SIGKILL)
