"""A worker's channel to its supervisor: commands for all workers, and calls from the supervisor."""

import asyncio
import itertools
import socket
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from prometheus_client.registry import Collector

from app.control.administration import RepositoryCommands
from app.errors import ServingError
from app.lifecycle.lifecycle import Lifecycle
from app.repository.serving_file import Promotion
from app.telemetry.metrics import Metrics
from app.telemetry.process import OwnProcess
from app.telemetry.summed_metrics import SummedMetrics
from app.workers.channel import Channel, ChannelClosed

if TYPE_CHECKING:
    from app.wiring.application import Atelier

# The supervisor receives the counts of a worker at least that often; later counts are lost if it is killed.
TELL_EVERY_S = 1.0
# Methods of ``Lifecycle`` that the supervisor calls in all workers: the steps of ``Commands``.
STEPS = ("load", "default_version", "prepare", "settle", "follow")


class Link:
    """One end of a worker's channel.

    Implements ``wiring.processes.Processes``, and ``control.administration.RepositoryCommands`` for all workers.

    Args:
        end: the worker's socket.
        unloaded: models, and versions of each, that an administrator has unloaded.
        loads_first: no request is taken before the models are loaded.
    """

    are_several = True

    def __init__(self, end: socket.socket, *, unloaded: Mapping[str, Sequence[int]], loads_first: bool) -> None:
        self.unloaded, self.loads_first = unloaded, loads_first
        self.loaded = asyncio.Event()
        self._end = end
        self._numbers = itertools.count(1)
        self._process = OwnProcess()
        self._app: Atelier | None = None
        self._telling: list[asyncio.Task[None]] = []
        self._channel = Channel(
            {
                **{name: partial(self._step, name) for name in STEPS},
                "unload": self._unload,
                "halt": self._halt,
                "counts": self._counts,
                "all_loaded": self._all_loaded,
            }
        )

    async def open(self, app: "Atelier") -> None:
        """Answer calls for an application, and send its counts."""
        self._app = app
        app.registry.others_load = not self.loads_first
        await self._channel.open(self._end)
        self._telling = [asyncio.create_task(self._tell_counts()), asyncio.create_task(self._tell_loaded())]

    async def ended(self) -> None:
        """Return when the supervisor is gone."""
        await self._channel.closed()

    async def close(self) -> None:
        """Send the last counts, and close."""
        for task in self._telling:
            task.cancel()
        self._channel.tell("heard", counts=await self._counts())
        await self._channel.close()

    def serving(self) -> None:
        """Report that this worker accepts requests from now on."""
        self._channel.tell("serving")

    async def load(self, name: str) -> None:
        """See ``Lifecycle.load``; in all workers."""
        await self._ask("load", name=name)

    async def unload(self, name: str, *, timeout_s: float) -> None:
        """See ``Lifecycle.unload``; in all workers."""
        await self._ask("unload", name=name, timeout_s=timeout_s)

    async def promote(self, name: str, version: int) -> Promotion:
        """See ``Lifecycle.promote``; in all workers."""
        return Promotion(**await self._ask("promote", name=name, version=version))

    async def rollback(self, name: str) -> Promotion:
        """See ``Lifecycle.rollback``; in all workers."""
        return Promotion(**await self._ask("rollback", name=name))

    def commands(self, lifecycle: Lifecycle) -> RepositoryCommands:
        """The commands, which the supervisor executes in all workers."""
        return self

    async def statistics(self, own: Metrics) -> SummedMetrics:
        """The counts of all workers."""
        return SummedMetrics(await self._ask("total"))

    async def metrics(self, own: Collector) -> SummedMetrics:
        """The counts of all workers."""
        return SummedMetrics(await self._ask("total"))

    async def _ask(self, name: str, /, **arguments: Any) -> Any:
        try:
            return await self._channel.call(name, **arguments)
        except ChannelClosed:
            raise ServingError("the process that supervises the workers is gone") from None

    async def _tell_counts(self) -> None:
        while True:
            self._channel.tell("heard", counts=await self._counts())
            await asyncio.sleep(TELL_EVERY_S)

    async def _tell_loaded(self) -> None:
        await self.loaded.wait()
        self._channel.tell("loaded")

    async def _counts(self) -> dict[str, Any]:
        metrics = self._application.metrics.snapshot()
        return {"number": next(self._numbers), "metrics": metrics, "process": self._process.snapshot()}

    # Called by the supervisor. A worker that is still loading its models answers afterwards.

    async def _step(self, step: str, /, **arguments: Any) -> Any:
        await self.loaded.wait()
        return await getattr(self._application.lifecycle, step)(**arguments)

    async def _unload(self, name: str, timeout_s: float) -> list[int]:
        await self.loaded.wait()
        await self._application.lifecycle.unload(name, timeout_s=timeout_s)
        return [record.version for record in self._application.registry.records(name)]

    async def _halt(self, name: str, stable: int, canary: int, reason: str, is_written: bool) -> None:
        rollout = self._application.registry.rollout(name)
        if rollout is not None and rollout.pair == (name, stable, canary):  # not another canary
            rollout.stop(reason, is_written=is_written)

    async def _all_loaded(self) -> None:
        self._application.registry.others_load = False

    @property
    def _application(self) -> "Atelier":
        assert self._app is not None
        return self._app
