"""Operations that a single process does alone, and that one of several workers does together with the others."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Protocol

from prometheus_client.registry import Collector

from app.control.administration import RepositoryCommands
from app.control.describe import Statistics
from app.lifecycle.lifecycle import Lifecycle
from app.telemetry.metrics import Metrics


class Processes(Protocol):
    """The processes of the service, as one of them sees them.

    Attributes:
        unloaded: models, and versions of each, that an administrator has unloaded.
        loads_first: this process takes no request before its models are loaded: others take them.
        loaded: set when the models are loaded.
        are_several: other processes listen on the same ports, and a supervisor judges canaries for all.
    """

    unloaded: Mapping[str, Sequence[int]]
    loads_first: bool
    loaded: asyncio.Event
    are_several: bool

    def commands(self, lifecycle: Lifecycle) -> RepositoryCommands:
        """Load, unload, promote and roll back, in all processes."""
        ...

    async def statistics(self, own: Metrics) -> Statistics:
        """The counts of all processes; ``own`` are those of this one."""
        ...

    async def metrics(self, own: Collector) -> Collector:
        """The metrics of all processes, for a scrape; ``own`` are those of this one."""
        ...


class SingleProcess:
    """This process is the whole service; implements ``Processes``."""

    are_several = False
    loads_first = False

    def __init__(self) -> None:
        self.unloaded: Mapping[str, Sequence[int]] = {}
        self.loaded = asyncio.Event()

    def commands(self, lifecycle: Lifecycle) -> RepositoryCommands:
        """The commands of this process."""
        return lifecycle

    async def statistics(self, own: Metrics) -> Statistics:
        """Those of this process."""
        return own

    async def metrics(self, own: Collector) -> Collector:
        """Those of this process."""
        return own
