"""Current memory, utilization and power of this machine's GPUs, as the driver's library reports them."""

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

# A driver that has not answered within this time hangs; normally it takes milliseconds.
READ_LIMIT_S = 1.0


@dataclass(frozen=True, kw_only=True)
class GpuUsage:
    """One GPU now. None: the driver does not report the value, for this GPU or at this moment.

    Attributes:
        name: as ``Device.name``.
        uuid: "GPU-..."; empty if the driver does not report it.
        memory_total_bytes, memory_used_bytes: for all processes of the machine.
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
        """Text such as "1.5 of 139.8 GiB in use"; empty if it is not known."""
        if self.memory_used_bytes is None or self.memory_total_bytes is None:
            return ""
        return f"{self.memory_used_bytes / 2**30:.1f} of {self.memory_total_bytes / 2**30:.1f} GiB in use"


class GpuMeter:
    """Reads the GPUs. The driver's library stays open after the first read; without it, no later read is attempted.

    A stuck driver blocks its caller forever. So a separate thread calls it, and others wait for the thread for at most
    ``limit_s``.

    Args:
        limit_s: seconds in which the driver must answer.
        clock: monotonic seconds.
    """

    def __init__(self, *, limit_s: float = READ_LIMIT_S, clock: Callable[[], float] = time.monotonic) -> None:
        self._limit_s = limit_s
        self._clock = clock
        self._lock = Lock()
        # Name, UUID and handle of each GPU; None before the first read.
        self._gpus: list[tuple[str, str, Any]] | None = None
        self._usage: list[GpuUsage] = []
        self._reading: Thread | None = None
        self._began = 0.0

    def read(self) -> list[GpuUsage]:
        """Every GPU, in the driver's order; empty without one. Never raises.

        Blocks for milliseconds, or for ``limit_s`` if the driver does not answer, and zero once that is known.
        Then the result only lists the GPUs of the first read, without values.
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
    """The library's answer; None if it refuses, as it does for parts of a GPU or for a failed one."""
    try:
        return ask(handle)
    except pynvml.NVMLError:
        return None
