"""Detects batches whose backend does not return."""

import asyncio
from collections.abc import Callable, Sequence

from app.batching.instances import Instance
from app.types import Clock


class Watchdog:
    """Watches the batches in the threads of one version's instances, with one timer for all of them.

    The timer is not cancelled when a batch ends, so a batch that ends in time costs only a comparison. If the device
    fails in a batch, the batch gets its full time again from when a spare is open, because opening one may take longer
    than any batch.

    Args:
        instances: of the version.
        on_hung: called with an instance whose batch has run for too long.
        clock: monotonic seconds.
    """

    def __init__(self, instances: Sequence[Instance], on_hung: Callable[[Instance], None], clock: Clock) -> None:
        self._instances = instances
        self._on_hung: Callable[[Instance], None] | None = on_hung
        self._clock = clock
        self._timer: asyncio.TimerHandle | None = None
        self._fires_at = 0.0

    def watch(self, instance: Instance, *, now: float, allowed_s: float, loop: asyncio.AbstractEventLoop) -> None:
        """Allow the batch that the instance starts at ``now`` to run for ``allowed_s``, which may be infinite."""
        instance.hangs_at, instance.allowed_s = now + allowed_s, allowed_s
        if allowed_s < float("inf") and (self._timer is None or instance.hangs_at < self._fires_at):
            self._set(allowed_s, instance.hangs_at, loop)

    def stop(self) -> None:
        """Stop watching."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def close(self) -> None:
        """Stop watching and drop the callback, whose owner references this watchdog."""
        self.stop()
        self._on_hung = None

    def _set(self, seconds: float, fires_at: float, loop: asyncio.AbstractEventLoop) -> None:
        self.stop()
        self._fires_at = fires_at
        self._timer = loop.call_later(seconds, self._check, loop)

    def _check(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = None
        now = self._clock()
        for instance in self._instances:
            if instance.running is not None and instance.hangs_at <= now:
                spare_at = instance.condition.spare_at
                instance.hangs_at = max(instance.hangs_at, min(now, spare_at) + instance.allowed_s)
                if instance.hangs_at <= now and self._on_hung is not None:
                    self._on_hung(instance)
        ends = [each.hangs_at for each in self._instances if each.running is not None]
        if ends and (next_end := min(ends)) < float("inf"):
            self._set(next_end - now, next_end, loop)
