"""What a replica does together with the others: their counts are added up."""

import asyncio
import itertools
import logging
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from typing import Any

from prometheus_client.registry import Collector
from ray.exceptions import RayError
from ray.serve.exceptions import RayServeException
from ray.serve.handle import DeploymentHandle

from app.errors import Unavailable
from app.telemetry.metrics import Metrics
from app.telemetry.process import OwnProcess
from app.telemetry.summed_metrics import SummedMetrics
from app.wiring.processes import SingleProcess

log = logging.getLogger("atelier.ray")

TELL_EVERY_S = 1.0
"""Counts that are newer are lost if the replica is killed."""
SUM_WITHIN_S = 5.0


class ReplicaProcesses(SingleProcess):
    """A replica among others; implements ``wiring.processes.Processes``.

    Args:
        counts: handle of ``Counts``.
        replica: id of this replica.
    """

    loads_first = True

    def __init__(self, counts: DeploymentHandle, replica: str) -> None:
        super().__init__()
        self._counts, self._replica = counts, replica
        self._numbers = itertools.count(1)
        self._process = OwnProcess()
        self._own = Metrics()

    async def statistics(self, own: Metrics) -> SummedMetrics:
        """The counts of all replicas."""
        return await self._total()

    async def metrics(self, own: Collector) -> SummedMetrics:
        """The counts of all replicas."""
        return await self._total()

    @asynccontextmanager
    async def telling(self, own: Metrics) -> AsyncIterator[None]:
        """Report the counts ``own`` every second meanwhile, and once more at the end."""
        self._own = own
        task = asyncio.create_task(self._tell())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await self._reach(self._counts.ended.remote(self._replica, self._newest()), "report its last counts")

    async def _tell(self) -> None:
        while True:
            await self._reach(self._counts.heard.remote(self._replica, self._newest()), "report its counts")
            await asyncio.sleep(TELL_EVERY_S)

    async def _total(self) -> SummedMetrics:
        """The sums.

        Raises:
            Unavailable: the replica of ``Counts`` does not answer.
        """
        document = await self._reach(self._counts.total.remote(self._replica, self._newest()), "get the sums")
        if document is None:
            raise Unavailable("the counts of all replicas are not available now; they are kept by another process")
        return SummedMetrics(document)

    async def _reach(self, call: Awaitable[Any], purpose: str) -> Any:
        """The answer of ``Counts``, or None with a line in the log."""
        try:
            return await asyncio.wait_for(call, SUM_WITHIN_S)
        except (RayError, RayServeException, TimeoutError) as error:
            log.warning("the replica cannot %s: %s", purpose, type(error).__name__)
            return None

    def _newest(self) -> dict[str, Any]:
        return {
            "number": next(self._numbers),
            "metrics": self._own.snapshot(),
            "process": self._process.snapshot(),
        }
