"""The backends of one model version: several may run batches at once, each in its own thread."""

import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from app.batching.admission import TOO_LONG, Admission
from app.batching.instance_thread import InstanceThread
from app.batching.work import Batch
from app.errors import BackendFailed
from app.runtime.backend import Backend
from app.runtime.failover import Condition
from app.runtime.placement import ON_CPU, Placement

log = logging.getLogger("atelier.batcher")

# Who unloads a version, or ends the process, waits no longer for calls in progress.
CLOSE_TIMEOUT_S = 5.0


@dataclass(slots=True, eq=False)
class Instance:
    """One backend of a version.

    Attributes:
        backend: runs a batch; closed with the instance.
        placement: the device that it runs on, and why.
        condition: whether that device works.
        running: the batch in progress, on the event loop or in the thread.
        name: of version and device, for the log.
        free_at: monotonic seconds at which the batch in the thread is estimated to end.
        began_at, estimate_s: monotonic seconds at which its last batch began, and what that was estimated to take.
        is_pressed: more work waited when that batch ended.
        hangs_at: ... and at which it has run for too long, after ``allowed_s``.
        faults_told: of its device, those that ``new_faults`` has told.
        thread: runs what does not run on the event loop.
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

    @property
    def hangs(self) -> bool:
        """Whether a call has not returned in time, and has not returned yet."""
        return bool(self.condition.hung)

    def new_faults(self) -> int:
        """How often its device has failed since this was asked last."""
        told, self.faults_told = self.faults_told, self.condition.faults
        return self.faults_told - told

    def close(self) -> None:
        """Free the backend once a call in progress has returned, without waiting for that."""
        self.thread.end(self.backend.close)


class Instances:
    """All instances of a version, and which of them are free. Only for the event loop.

    The one that has been free for longest is next, so that all of them are used: a GPU that has failed is tried again
    only when it gets a batch.

    Args:
        instances: at least one.
    """

    def __init__(self, instances: Sequence[Instance]) -> None:
        self.all = tuple(instances)
        # One with a batch in its thread is not in here.
        self.free = deque(self.all)
        # So many do not hang: they are free when no batch is in any thread.
        self.usable = len(self.all)

    def seconds_until_free(self, now: float) -> float:
        """Estimated seconds until one of them is free, while none is."""
        ends = [instance.free_at for instance in self.all if not instance.hangs]
        return max(0.0, min(ends, default=now) - now)

    def exclude(self, instance: Instance, admission: Admission) -> BackendFailed:
        """Count on an instance no longer whose backend does not return; the error for those who wait for its batch."""
        instance.condition.hung = f"{TOO_LONG}; it gets no more until that call returns"
        instance.condition.hangs += 1
        self.usable -= 1
        admission.instances = self.usable
        log.error("%s hangs: %s; %d of %d instances are left", instance.name, TOO_LONG, self.usable, len(self.all))
        return BackendFailed(f"the backend did not return: {TOO_LONG}")

    def include(self, instance: Instance, admission: Admission) -> None:
        """Count on an instance again, whose backend has returned after all."""
        instance.condition.hung = ""
        self.usable += 1
        admission.instances = self.usable
        log.info("%s answers again after it hung", instance.name)

    def sharing(self, share: Callable[[Backend], Backend]) -> list[Instance]:
        """As many more, on the same devices, over what ``share`` gives for each backend."""
        return [
            Instance(
                share(each.backend),
                each.placement,
                each.condition,
                each.name,
                faults_told=each.condition.faults,
            )
            for each in self.all
        ]

    def close(self, *, timeout_s: float = CLOSE_TIMEOUT_S) -> None:
        """Free all backends, those whose call in progress does not return within that time when it does, if ever."""
        for instance in self.all:
            instance.close()
        ends_at = time.monotonic() + timeout_s
        for instance in self.all:
            left_s = max(0.0, ends_at - time.monotonic())
            if not instance.hangs and not instance.thread.has_ended(within_s=left_s):
                log.warning("%s runs a batch still; its memory is freed when that returns, if ever", instance.name)

    @property
    def devices(self) -> tuple[str, ...]:
        """The devices in use, each once."""
        return tuple(dict.fromkeys(instance.placement.device for instance in self.all))

    @property
    def reason(self) -> str:
        """Why they run there."""
        return self._each([instance.placement.reason for instance in self.all])

    @property
    def degraded(self) -> str:
        """Which of them do not run as placed, and why; empty if all do."""
        return self._each([instance.condition.reason for instance in self.all])

    @property
    def faults(self) -> int:
        """Of their devices so far."""
        return sum(instance.condition.faults for instance in self.all)

    @property
    def hangs(self) -> int:
        """Batches so far whose backend did not return in time."""
        return sum(instance.condition.hangs for instance in self.all)

    def _each(self, texts: list[str]) -> str:
        """The text of every instance that has one, with its device if they differ or are several."""
        if len(self.all) == 1:
            return texts[0]
        said = (f"{each.placement.device}: {text}" for each, text in zip(self.all, texts, strict=True) if text)
        return "; ".join(dict.fromkeys(said))
