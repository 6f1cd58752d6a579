"""A backend on a GPU that may fail: what the GPU cannot run, the CPU runs, and no request is lost."""

import logging
import re
from collections.abc import Callable
from dataclasses import dataclass
from math import inf

from app.errors import BackendFailed, DeviceFault, ServingError
from app.runtime.backend import Backend, join_rows, row_count, take_rows
from app.types import Array, Clock, Tensors

log = logging.getLogger("atelier.devices")

# After a fault the GPU is left alone, or gets smaller batches, for 1, 2, 4 ... seconds, at most for these.
FIRST_BACKOFF_S = 1.0
LONGEST_BACKOFF_S = 60.0
# As ONNX Runtime words them: errors of CUDA's libraries, of its own allocator, of the execution provider as a whole.
_OUT_OF_MEMORY = re.compile(
    r"out of memory|ALLOC_FAILED|Failed to allocate memory|is smaller than requested bytes|failed with CUDA error 2$"
)
_FAULT = re.compile(r"\b(CUDA|CUDNN|CUDNN_FE|CUBLAS|CUFFT|CURAND) failure|: EP_FAIL")
_LONGEST_REASON = 200


@dataclass
class Condition:
    """How an instance fares, written by its backend and its batcher, and read by whoever shows it.

    Attributes:
        degraded: why it does not run as placed; empty if it does.
        faults: of its device so far.
        hung: why it does not run at all: a call that does not return; empty if there is none.
        hangs: such calls so far.
        spare_at: monotonic seconds at which a spare was opened; infinite while it is being opened.
    """

    degraded: str = ""
    faults: int = 0
    hung: str = ""
    hangs: int = 0
    spare_at: float = -inf

    @property
    def reason(self) -> str:
        """What is the matter, the worst first; empty if nothing is."""
        return self.hung or self.degraded


def is_out_of_memory(error: BackendFailed) -> bool:
    """Whether the device had no memory for the batch; a smaller one may fit."""
    return _OUT_OF_MEMORY.search(error.message) is not None


def is_device_fault(error: BackendFailed) -> bool:
    """Whether the device failed, and not the model on these inputs."""
    return isinstance(error, DeviceFault) or is_out_of_memory(error) or _FAULT.search(error.message) is not None


class FailoverBackend(Backend):
    """A primary backend, and one that takes over while the primary's device fails.

    A batch in which the device fails is run again in two halves; if it fails once more, the spare runs what is left.
    Until a backoff is over, the spare runs everything, or, if the halves went well, the primary gets batches of that
    size at most. Then the primary is tried with a whole batch again.

    Args:
        primary: on the GPU.
        open_spare: opens the version on the CPU; called at the first fault that needs it.
        condition: told of faults and of recovery.
        name: of version and device, for the log.
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
        # Most rows that the primary gets; None: any number, it is in order.
        self._limit: int | None = None
        # It is in order again when it has run so many.
        self._rows_to_prove = 1
        self._retry_at = 0.0
        self._backoff_s = FIRST_BACKOFF_S

    @property
    def provider(self) -> str:
        """Execution provider of the primary."""
        return self._primary.provider

    def run(self, inputs: Tensors) -> dict[str, Array]:
        """Run one batch; see ``Backend.run``. Fails only if the spare does, or the model on these inputs."""
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
        """On the primary with ``size`` rows at a time; from the part on that it fails, on the spare."""
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
        """From now on until the backoff is over the primary gets ``limit`` rows at most."""
        healthy = self._limit is None
        now = self._clock()
        if healthy or now >= self._retry_at:  # the halves of a batch that failed are the same incident
            self._backoff_s = FIRST_BACKOFF_S if healthy else min(2 * self._backoff_s, LONGEST_BACKOFF_S)
        self._retry_at = now + self._backoff_s
        self._limit = limit
        instead = "it gets smaller batches" if limit else "the CPU takes over"
        said = error.message.split(" ; GPU=")[0][:_LONGEST_REASON]
        self._condition.faults += 1
        self._condition.degraded = f"{said}; {instead}"
        log.log(
            logging.ERROR if healthy else logging.WARNING,
            "%s is degraded: %s; tried again in %g s",
            self._name,
            self._condition.degraded,
            self._backoff_s,
        )

    def _prove(self, rows: int, limit: int) -> None:
        """The primary has run so many rows in one call."""
        if rows < self._rows_to_prove:
            self._limit = max(rows, limit)
            return
        self._limit = None
        self._condition.degraded = ""
        log.info("%s has recovered", self._name)
