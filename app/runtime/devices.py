"""The compute devices of this machine, and why each of them is used or not."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pynvml

from app.contract.device import CPU, CUDA
from app.runtime.cuda import DRIVER, cuda_version, missing_libraries

CPU_PROVIDER = "CPUExecutionProvider"


@dataclass(frozen=True)
class Device:
    """One compute device.

    Attributes:
        name: "cpu", "cuda:0", ...; "gpu 0" for one that CUDA_VISIBLE_DEVICES hides.
        description: model name and size.
        used: whether models may run on it.
        reason: one sentence: why, or why not.
    """

    name: str
    description: str
    used: bool
    reason: str


@dataclass(frozen=True)
class Gpu:
    """A GPU as the driver reports it.

    Attributes:
        uuid: "GPU-..."; empty if the driver does not report it.
        description: model name and memory.
    """

    uuid: str
    description: str


def probe_devices() -> list[Device]:
    """The CPU and every GPU that the NVIDIA driver reports. If CUDA sees one, this loads its libraries: seconds.

    ``onnxruntime.get_available_providers()`` lists what was compiled in, not what works, so GPUs are
    counted by the driver's own library.
    """
    gpus = _gpus()
    devices = [
        Device(
            CPU,
            f"{cpu_threads()} of {os.cpu_count() or 1} CPU threads",
            used=True,
            reason="ONNX Runtime's CPU provider is always available",
        )
    ]
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    hindrance = why_no_cuda() if visible_order(gpus, visible) else ""
    return devices + describe_gpus(gpus, visible, hindrance)


def why_no_cuda() -> str:
    """Why models cannot use any GPU, in one sentence; empty if they can."""
    if not cuda_version():
        return "the installed ONNX Runtime was built without CUDA"
    missing = missing_libraries()
    if DRIVER in missing:
        return (
            f"the driver's {DRIVER} is missing; in a container, the runtime must grant the driver's capability compute"
        )
    if missing:
        return f"the CUDA libraries are incomplete, {' and '.join(missing)} missing: `make serve GPU=1` installs them"
    return ""


def why_no_gpu(requested: str, gpus: Sequence[Device]) -> str:
    """Why a model does not get the requested GPU, and what to do, in one sentence.

    Args:
        requested: "cuda" or "cuda:N".
        gpus: GPUs of this machine; no usable one matches ``requested``.
    """
    instead = "set device to 'auto' or 'cpu', in serving.json or with --device"
    seen = [gpu for gpu in gpus if gpu.name.startswith(CUDA)]
    meant = [gpu for gpu in seen if requested in {CUDA, gpu.name}]
    if not gpus:
        return f"device is {requested!r}, which requires a GPU, but no NVIDIA driver reports one; {instead}"
    if seen and not meant:
        names = ", ".join(gpu.name for gpu in seen)
        return f"device is {requested!r}, but CUDA only sees {names}; choose one of them, or {instead}"
    first = (meant or gpus)[0]
    return f"device is {requested!r}, but {first.name} cannot be used: {first.reason}; fix that, or {instead}"


def describe_gpus(gpus: Sequence[Gpu], visible: str | None, hindrance: str) -> list[Device]:
    """GPUs under the names that CUDA gives them, followed by those that CUDA does not see.

    Args:
        gpus: in the driver's order.
        visible: CUDA_VISIBLE_DEVICES; None if it is not set.
        hindrance: why no GPU can be used; empty if they can.
    """
    order, names = visible_order(gpus, visible), gpu_names(gpus, visible)
    seen = [
        Device(
            names[index],
            gpus[index].description,
            used=not hindrance,
            reason=hindrance or "the driver and the CUDA libraries are available",
        )
        for index in order
    ]
    hidden = [
        Device(names[index], gpu.description, used=False, reason=f"CUDA_VISIBLE_DEVICES is {visible!r} and hides it")
        for index, gpu in enumerate(gpus)
        if index not in order
    ]
    return seen + hidden


def gpu_names(gpus: Sequence[Gpu], visible: str | None) -> list[str]:
    """The name of each GPU, in the driver's order: "cuda:N" as CUDA counts, "gpu N" if CUDA does not see it."""
    order = visible_order(gpus, visible)
    return [f"cuda:{order.index(i)}" if i in order else f"gpu {i}" for i in range(len(gpus))]


def visible_order(gpus: Sequence[Gpu], visible: str | None) -> list[int]:
    """Indices of the GPUs that CUDA sees, in its order. Numbers or UUID prefixes, up to the first invalid one.

    Source: CUDA C++ Programming Guide, environment variables, CUDA_VISIBLE_DEVICES.
    """
    if visible is None:
        return list(range(len(gpus)))
    order: list[int] = []
    for entry in (part.strip() for part in visible.split(",")):
        if entry.isascii() and entry.isdigit():
            found = [int(entry)] if int(entry) < len(gpus) else []
        else:
            found = [i for i, gpu in enumerate(gpus) if entry and gpu.uuid.startswith(entry)]
        if len(found) != 1 or found[0] in order:
            break
        order += found
    return order


def cpu_threads(cgroup: Path = Path("/sys/fs/cgroup")) -> int:
    """CPU threads this process may use: the affinity mask, limited by the container's quota (cgroup v2 or v1)."""
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = _quota(cgroup)
    return affinity if quota is None else max(1, min(affinity, round(quota)))


def threads_of_a_worker(workers: int) -> int:
    """CPU threads that one backend call of a worker may use: its share of this machine, at least 1."""
    return max(1, cpu_threads() // workers)


def _quota(cgroup: Path) -> float | None:
    """CPUs granted by the cgroup; None when unlimited or unknown."""
    try:
        limit, period = (cgroup / "cpu.max").read_text().split()
        return None if limit == "max" else int(limit) / int(period)
    except (OSError, ValueError):
        pass
    try:
        microseconds = int((cgroup / "cpu/cpu.cfs_quota_us").read_text())
        period_us = int((cgroup / "cpu/cpu.cfs_period_us").read_text())
    except (OSError, ValueError):
        return None
    return microseconds / period_us if microseconds > 0 else None


def _gpus() -> list[Gpu]:
    """Each NVIDIA GPU; empty without a driver."""
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return []
    try:
        found = []
        for index in range(pynvml.nvmlDeviceGetCount()):
            handle = pynvml.nvmlDeviceGetHandleByIndex(index)
            memory_gib = pynvml.nvmlDeviceGetMemoryInfo(handle).total / 2**30
            description = f"{pynvml.nvmlDeviceGetName(handle)}, {memory_gib:.0f} GiB"
            found.append(Gpu(str(pynvml.nvmlDeviceGetUUID(handle)), description))
        return found
    except pynvml.NVMLError as error:
        return [Gpu("", f"GPU that the driver cannot describe: {error}")]
    finally:
        pynvml.nvmlShutdown()
