"""Rests of the event loop on a single core, while a batch runs in a thread and more work waits behind it."""

import asyncio
import threading
import time
from collections.abc import Callable
from typing import TypeVar

from app.batching.instance_thread import InstanceThread

T = TypeVar("T")

LONGEST_S = 0.001
"""Most seconds of one rest, which delay a health check or a request to another model."""
HANGS_FROM_S = 1.0
"""A batch that runs for longer than this ends the rests, so that one that hangs does not slow down everything else."""


class LoopRest:
    """Lets requests gather while a batch needs the core, as network cards moderate their interrupts.

    With a single core, every request that arrives interrupts the batch, with two switches of threads. While work waits
    behind the batch, to read another request sooner makes no answer sooner. A rest ends with the batch.
    ``python -m benchmarks overload`` measures the effect; docs/explanation/reliability.md has the figures.
    """

    def __init__(self) -> None:
        self._ended = threading.Event()
        self._until = 0.0

    def run(
        self,
        thread: InstanceThread,
        call: Callable[[], T],
        then: Callable[[T | Exception], None],
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        """Run a batch behind which work waits; as ``InstanceThread.run``."""

        def call_and_end() -> T:
            try:
                return call()
            finally:
                self._ended.set()

        def settle_and_then(result: T | Exception) -> None:
            self._until = 0.0
            then(result)

        self._ended.clear()
        self._until = time.perf_counter() + HANGS_FROM_S
        thread.run(call_and_end, settle_and_then, loop)

    def rest(self) -> None:
        """Block the event loop for a moment if such a batch runs. Call it once in each turn that read requests."""
        if self._until and time.perf_counter() < self._until:
            self._ended.wait(LONGEST_S)
