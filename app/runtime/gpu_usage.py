"""What the GPUs of this machine do at the moment: memory, utilisation and power, as the driver's library tells."""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from threading import Lock, Thread
from typing import Any, TypeVar

import pynvml

from app.contract.device import CUDA
from app.runtime.devices import Gpu, gpu_names

T = TypeVar("T")

# The driver answers within milliseconds, or it is stuck.
READ_LIMIT_S = 1.0


@dataclass(frozen=True, kw_only=True)
class GpuUsage:
    """One GPU now. None is what the driver does not say, of this GPU or at this moment.

    Attributes:
        name: as ``Device.name``.
        uuid: "GPU-..."; empty if the driver does not say.
        memory_total_bytes, memory_used_bytes: of the whole machine's processes.
        utilization: share of the last moments in which a kernel ran, 0 to 1.
        power_w: watts.
    """

    name: str
    uuid: str
    memory_total_bytes: int | None
    memory_used_bytes: int | None
    utilization: float | None
    power_w: float | None

    @property
    def is_visible(self) -> bool:
        """Whether CUDA sees it."""
        return self.name.startswith(CUDA)

    @property
    def memory_in_words(self) -> str:
        """As in "1.5 of 139.8 GiB in use"; empty if it is not known."""
        if self.memory_used_bytes is None or self.memory_total_bytes is None:
            return ""
        return f"{self.memory_used_bytes / 2**30:.1f} of {self.memory_total_bytes / 2**30:.1f} GiB in use"


class GpuMeter:
    """Reads the GPUs. The driver's library stays open from the first read on; without it, nothing is read again.

    A driver that is stuck holds whoever asks it for good. So a thread of our own does, and others wait for it no longer
    than ``limit_s``.

    Args:
        limit_s: seconds in which the driver must answer.
        clock: monotonic seconds.
    """

    def __init__(self, *, limit_s: float = READ_LIMIT_S, clock: Callable[[], float] = time.monotonic) -> None:
        self._limit_s = limit_s
        self._clock = clock
        self._lock = Lock()
        # Name, UUID, and what the library calls the GPU by; None before the first read.
        self._gpus: list[tuple[str, str, Any]] | None = None
        self._usage: list[GpuUsage] = []
        self._reading: Thread | None = None
        self._began = 0.0

    def read(self) -> list[GpuUsage]:
        """Every GPU, in the driver's order; empty without one. Never raises.

        Blocks for milliseconds; for ``limit_s`` if the driver does not answer, and not at all once that is known. All
        that is told of the GPUs then is which there were.
        """
        with self._lock:
            if self._gpus == []:
                return []
            if self._reading is None or not self._reading.is_alive():
                self._began = self._clock()
                self._reading = Thread(target=self._read, name="gpus", daemon=True)
                self._reading.start()
            reading, left_s = self._reading, self._began + self._limit_s - self._clock()
        reading.join(max(0.0, left_s))
        return [_unknown(gpu) for gpu in self._usage] if reading.is_alive() else self._usage

    def _read(self) -> None:
        if self._gpus is None:
            self._gpus = _find()
        self._usage = [_usage(*gpu) for gpu in self._gpus]


def _find() -> list[tuple[str, str, Any]]:
    try:
        pynvml.nvmlInit()
        handles = [pynvml.nvmlDeviceGetHandleByIndex(index) for index in range(pynvml.nvmlDeviceGetCount())]
    except pynvml.NVMLError:
        return []
    uuids = [str(_told(pynvml.nvmlDeviceGetUUID, handle) or "") for handle in handles]
    names = gpu_names([Gpu(uuid, "") for uuid in uuids], os.environ.get("CUDA_VISIBLE_DEVICES"))
    return list(zip(names, uuids, handles, strict=True))


def _usage(name: str, uuid: str, handle: Any) -> GpuUsage:
    memory = _told(pynvml.nvmlDeviceGetMemoryInfo, handle)
    rates = _told(pynvml.nvmlDeviceGetUtilizationRates, handle)
    milliwatts = _told(pynvml.nvmlDeviceGetPowerUsage, handle)
    return GpuUsage(
        name=name,
        uuid=uuid,
        memory_total_bytes=None if memory is None else memory.total,
        memory_used_bytes=None if memory is None else memory.used,
        utilization=None if rates is None else rates.gpu / 100,
        power_w=None if milliwatts is None else milliwatts / 1e3,
    )


def _unknown(gpu: GpuUsage) -> GpuUsage:
    return replace(gpu, memory_total_bytes=None, memory_used_bytes=None, utilization=None, power_w=None)


def _told(ask: Callable[[Any], T], handle: Any) -> T | None:
    """What the library says; None if it refuses, as it does for parts of a GPU, or for one that has failed."""
    try:
        return ask(handle)
    except pynvml.NVMLError:
        return None
