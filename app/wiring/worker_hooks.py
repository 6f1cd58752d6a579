"""Actions that the application of a worker process takes together with the other workers; see ``app.workers``."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from app.control.administration import RepositoryCommands
from app.telemetry.total import Total


@dataclass(frozen=True, kw_only=True)
class WorkerHooks:
    """How a worker reaches its supervisor.

    Attributes:
        commands: load, unload, promote and roll back in all workers.
        total: the counts of all workers.
        unloaded: models, and versions of each, that an administrator has unloaded.
        loads_first: requests are accepted only after the models are loaded; other workers take them until then.
        loaded: set when the models are loaded.
    """

    commands: RepositoryCommands
    total: Callable[[], Awaitable[Total]]
    unloaded: Mapping[str, Sequence[int]]
    loads_first: bool
    loaded: asyncio.Event
