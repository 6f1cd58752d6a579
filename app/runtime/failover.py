"""A backend on a GPU that may fail: the CPU runs what the GPU cannot, and no request is lost."""

import logging
import re
from collections.abc import Callable
from dataclasses import dataclass
from math import inf

from app.errors import BackendFailed, DeviceFault, ServingError
from app.runtime.backend import Backend, join_rows, row_count, take_rows
from app.types import Array, Clock, Tensors

log = logging.getLogger("atelier.devices")

# Seconds for which the GPU is not used, or gets smaller batches, after a fault: 1, 2, 4 ..., at most these.
FIRST_BACKOFF_S = 1.0
LONGEST_BACKOFF_S = 60.0
# Messages of ONNX Runtime: errors of CUDA's libraries, of its own allocator, of the execution provider as a whole.
_OUT_OF_MEMORY = re.compile(
    r"out of memory|ALLOC_FAILED|Failed to allocate memory|is smaller than requested bytes|failed with CUDA error 2$"
)
_FAULT = re.compile(r"\b(CUDA|CUDNN|CUDNN_FE|CUBLAS|CUFFT|CURAND) failure|: EP_FAIL")
_LONGEST_REASON = 200


@dataclass
class Condition:
    """Health of an instance, written by its backend and its batcher, and read by metrics and status.

    Attributes:
        degraded: why it does not run as placed; empty if it does.
        faults: faults of its device so far.
        hung: why it does not run at all: a call that does not return; empty without one.
        hangs: number of such calls so far.
        spare_at: monotonic seconds at which a spare was opened; infinite while it is being opened.
    """

    degraded: str = ""
    faults: int = 0
    hung: str = ""
    hangs: int = 0
    spare_at: float = -inf

    @property
    def reason(self) -> str:
        """The problem of the instance, the worst one; empty without a problem."""
        return self.hung or self.degraded


def is_out_of_memory(error: BackendFailed) -> bool:
    """Whether the device lacked memory for the batch; a smaller batch may fit."""
    return _OUT_OF_MEMORY.search(error.message) is not None


def is_device_fault(error: BackendFailed) -> bool:
    """Whether the device failed, rather than the model on these inputs."""
    return isinstance(error, DeviceFault) or is_out_of_memory(error) or _FAULT.search(error.message) is not None


class FailoverBackend(Backend):
    """A primary backend, and a spare that takes over while the primary's device fails.

    A batch in which the device fails is run again in two halves; if it fails again, the spare runs the rest. Until
    a backoff is over, the spare runs everything, or, if the halves succeeded, the primary gets batches of at most that
    size. Then the primary is tried with a whole batch again.

    Args:
        primary: on the GPU.
        open_spare: opens the version on the CPU; called at the first fault that needs it.
        condition: records faults and recovery.
        name: version and device, for the log.
        clock: monotonic seconds.
        on_close: called when both are closed.
    """

    def __init__(
        self,
        primary: Backend,
        open_spare: Callable[[], Backend],
        condition: Condition,
        *,
        name: str,
        clock: Clock,
        on_close: Callable[[], None] = lambda: None,
    ) -> None:
        self._primary = primary
        self._open_spare = open_spare
        self._spare: Backend | None = None
        self._condition = condition
        self._name = name
        self._clock = clock
        self._on_close = on_close
        # Most rows per call of the primary; None: no limit, it is healthy.
        self._limit: int | None = None
        # The primary is healthy again when it has run this many rows in a call.
        self._rows_to_prove = 1
        self._retry_at = 0.0
        self._backoff_s = FIRST_BACKOFF_S

    @property
    def provider(self) -> str:
        """Execution provider of the primary."""
        return self._primary.provider

    def run(self, inputs: Tensors) -> dict[str, Array]:
        """Run one batch; see ``Backend.run``. Fails only if the spare fails, or the model on these inputs."""
        rows = row_count(inputs)
        limit = self._limit
        if limit is not None and rows > limit and self._clock() < self._retry_at:
            return self._in_parts(inputs, limit) if limit else self._on_spare(inputs)
        try:
            outputs = self._primary.run(inputs)
        except BackendFailed as error:
            if not is_device_fault(error):
                raise
            if limit is None:
                self._rows_to_prove = 1
            if is_out_of_memory(error):
                self._rows_to_prove = max(rows, self._rows_to_prove)
            half = (rows + 1) // 2
            self._degrade(error, limit=min(half, limit) if limit else half)
        else:
            if limit is not None:
                self._prove(rows, limit)
            return outputs
        assert self._limit
        return self._in_parts(inputs, self._limit)

    def close(self) -> None:
        """Close both."""
        self._primary.close()
        if self._spare is not None:
            self._spare.close()
            self._spare = None
        self._on_close()

    def _in_parts(self, inputs: Tensors, size: int) -> dict[str, Array]:
        """Run ``size`` rows at a time on the primary; from the first failing part on, on the spare."""
        parts, rows = [], row_count(inputs)
        for start in range(0, rows, size):
            try:
                parts.append(self._primary.run(take_rows(inputs, start, start + size)))
            except BackendFailed as error:
                if not is_device_fault(error):
                    raise
                self._degrade(error, limit=0)
                parts.append(self._on_spare(take_rows(inputs, start, rows)))
                break
        return join_rows(parts)

    def _on_spare(self, inputs: Tensors) -> dict[str, Array]:
        if self._spare is None:
            self._condition.spare_at = inf
            try:
                self._spare = self._open_spare()
            except ServingError as error:
                raise BackendFailed(f"{self._condition.degraded}; the CPU cannot take over: {error.message}") from error
            finally:
                self._condition.spare_at = self._clock()
        return self._spare.run(inputs)

    def _degrade(self, error: BackendFailed, *, limit: int) -> None:
        """Limit the primary to ``limit`` rows until the backoff is over."""
        healthy = self._limit is None
        now = self._clock()
        if healthy or now >= self._retry_at:  # the halves of a failed batch are the same incident
            self._backoff_s = FIRST_BACKOFF_S if healthy else min(2 * self._backoff_s, LONGEST_BACKOFF_S)
        self._retry_at = now + self._backoff_s
        self._limit = limit
        instead = "it gets smaller batches" if limit else "the CPU takes over"
        said = error.message.split(" ; GPU=")[0][:_LONGEST_REASON]
        self._condition.faults += 1
        self._condition.degraded = f"{said}; {instead}"
        log.log(
            logging.ERROR if healthy else logging.WARNING,
            "%s is degraded: %s; next attempt in %g s",
            self._name,
            self._condition.degraded,
            self._backoff_s,
        )

    def _prove(self, rows: int, limit: int) -> None:
        """Record that the primary has run that many rows in one call."""
        if rows < self._rows_to_prove:
            self._limit = max(rows, limit)
            return
        self._limit = None
        self._condition.degraded = ""
        log.info("%s has recovered", self._name)
