"""The backends of one model version: several may run batches at the same time, each in its own thread."""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from app.batching.admission import ALL_HANG, TOO_LONG, Admission
from app.batching.instance_thread import InstanceThread
from app.batching.loop_rest import LoopRest
from app.batching.work import Batch
from app.errors import BackendFailed
from app.runtime.backend import Backend
from app.runtime.failover import Condition
from app.runtime.placement import ON_CPU, Placement

log = logging.getLogger("atelier.batcher")

T = TypeVar("T")

# Longest wait for calls in progress when a version is unloaded or the process ends.
CLOSE_TIMEOUT_S = 5.0
# The resolution of the clock.
_SHORTEST_S = 1e-6


@dataclass(slots=True, eq=False)
class Instance:
    """One backend of a version.

    Attributes:
        backend: runs batches; closed with the instance.
        placement: its device, and the reason for it.
        condition: whether that device works.
        running: the batch in progress, on the event loop or in the thread.
        name: version and device, for the log.
        free_at: monotonic seconds at which the batch in the thread is estimated to end.
        began_at, estimate_s: start of its last batch, monotonic seconds, and estimated duration of that batch.
        is_pressed: more work waited when that batch ended.
        hangs_at: monotonic seconds from which the batch counts as hung, ``allowed_s`` after its start.
        faults_told: faults of its device that ``new_faults`` has already returned.
        thread: runs what does not run on the event loop.
        loop_rest: of the process, if the event loop and the thread share a core; otherwise None.
    """

    backend: Backend
    placement: Placement = ON_CPU
    condition: Condition = field(default_factory=Condition)
    name: str = "an instance"
    running: Batch | None = None
    free_at: float = 0.0
    began_at: float = 0.0
    estimate_s: float = 0.0
    is_pressed: bool = False
    hangs_at: float = 0.0
    allowed_s: float = 0.0
    faults_told: int = 0
    thread: InstanceThread = field(default_factory=InstanceThread)
    loop_rest: LoopRest | None = None

    @property
    def hangs(self) -> bool:
        """Whether a call did not return in time and has still not returned."""
        return bool(self.condition.hung)

    def begin(self, batch: Batch, *, now: float, estimate_s: float) -> float | None:
        """Note that a batch starts.

        Returns:
            How many times as long as estimated the last batch took until now, if it was full and more work waited.
        """
        times = (now - self.began_at) / max(self.estimate_s, _SHORTEST_S) if self.is_pressed else None
        self.running, self.began_at, self.estimate_s, self.is_pressed = batch, now, estimate_s, False
        return times

    def run(
        self,
        call: Callable[[], T],
        then: Callable[[T | Exception], None],
        loop: asyncio.AbstractEventLoop,
        *,
        work_waits: bool,
    ) -> None:
        """Run a batch in the thread; as ``InstanceThread.run``. ``work_waits``: more work waits behind it."""
        if work_waits and self.loop_rest is not None:
            self.loop_rest.run(self.thread, call, then, loop)
        else:
            self.thread.run(call, then, loop)

    def new_faults(self) -> int:
        """Number of faults of its device since the last call of this method."""
        told, self.faults_told = self.faults_told, self.condition.faults
        return self.faults_told - told

    def close(self) -> None:
        """Free the backend after a call in progress has returned; does not wait for that."""
        self.thread.end(self.backend.close)


class Instances:
    """All instances of a version, and which of them are free. Only for the event loop.

    The instance that has been free for longest is next, so that all are used. A failed GPU is only retried with a
    batch.

    Args:
        instances: at least one.
    """

    def __init__(self, instances: Sequence[Instance]) -> None:
        self.all = tuple(instances)
        # An instance with a batch in its thread is not in this list.
        self.free = deque(self.all)
        # Instances that do not hang; all of them are free when no thread runs a batch.
        self.usable = len(self.all)

    @property
    def problem(self) -> str:
        """Why no instance can run a batch now; empty if one can."""
        if not self.usable:
            return ALL_HANG
        down_for_s = min(instance.backend.down_for_s for instance in self.all if not instance.hangs)
        return f"its process keeps ending; the next attempt is in {down_for_s:.0f} s" if down_for_s else ""

    def seconds_until_free(self, now: float) -> float:
        """Estimated seconds until an instance is free; called while none is."""
        ends = [instance.free_at for instance in self.all if not instance.hangs]
        return max(0.0, min(ends, default=now) - now)

    def exclude(self, instance: Instance, admission: Admission) -> BackendFailed:
        """Exclude an instance whose backend does not return. Returns the error for the clients of its batch."""
        instance.condition.hung = f"{TOO_LONG}; it gets no batches until that call returns"
        instance.condition.hangs += 1
        self.usable -= 1
        admission.instances = self.usable
        log.error("%s hangs: %s; %d of %d instances are left", instance.name, TOO_LONG, self.usable, len(self.all))
        return BackendFailed(f"the backend did not return: {TOO_LONG}")

    def include(self, instance: Instance, admission: Admission) -> None:
        """Include an instance again after its backend has returned."""
        instance.condition.hung = ""
        self.usable += 1
        admission.instances = self.usable
        log.info("%s answers again after it hung", instance.name)

    def sharing(self, share: Callable[[Backend], Backend]) -> list[Instance]:
        """As many new instances on the same devices, with the backends that ``share`` returns."""
        return [
            Instance(
                share(each.backend),
                each.placement,
                each.condition,
                each.name,
                faults_told=each.condition.faults,
                loop_rest=each.loop_rest,
            )
            for each in self.all
        ]

    def close(self, *, timeout_s: float = CLOSE_TIMEOUT_S) -> None:
        """Free all backends; a backend whose call does not return in that time is freed when the call returns."""
        for instance in self.all:
            instance.close()
        ends_at = time.monotonic() + timeout_s
        for instance in self.all:
            left_s = max(0.0, ends_at - time.monotonic())
            if not instance.hangs and not instance.thread.has_ended(within_s=left_s):
                log.warning("%s still runs a batch; its memory is freed when the call returns", instance.name)

    @property
    def devices(self) -> tuple[str, ...]:
        """The devices in use, each once."""
        return tuple(dict.fromkeys(instance.placement.device for instance in self.all))

    @property
    def reason(self) -> str:
        """The reasons for these devices."""
        return self._each([instance.placement.reason for instance in self.all])

    @property
    def degraded(self) -> str:
        """The instances that do not run as placed, and why; empty if all do."""
        return self._each([instance.condition.reason for instance in self.all])

    @property
    def faults(self) -> int:
        """Faults of their devices so far."""
        return sum(instance.condition.faults for instance in self.all)

    @property
    def hangs(self) -> int:
        """Number of batches whose backend did not return in time."""
        return sum(instance.condition.hangs for instance in self.all)

    def _each(self, texts: list[str]) -> str:
        """The texts of all instances that have one, with the device if texts differ or there are several devices."""
        if len(self.all) == 1:
            return texts[0]
        said = (f"{each.placement.device}: {text}" for each, text in zip(self.all, texts, strict=True) if text)
        return "; ".join(dict.fromkeys(said))
