"""What this machine can compute on, and why each device is used or not."""

import os
from dataclasses import dataclass
from pathlib import Path

import onnxruntime as ort
import pynvml

CPU_PROVIDER = "CPUExecutionProvider"
CUDA_PROVIDER = "CUDAExecutionProvider"


@dataclass(frozen=True)
class Device:
    """One compute device.

    Attributes:
        name: "cpu", "cuda:0", ...
        description: model name and size.
        used: whether models run on it.
        reason: one sentence: why, or why not.
    """

    name: str
    description: str
    used: bool
    reason: str


def probe_devices() -> list[Device]:
    """The CPU and every GPU that the NVIDIA driver reports.

    ``onnxruntime.get_available_providers()`` lists what was compiled in, not what works, so GPUs are
    counted by the driver's own library.
    """
    devices = [
        Device(
            "cpu",
            f"{cpu_threads()} of {os.cpu_count() or 1} CPU threads",
            used=True,
            reason="ONNX Runtime's CPU provider is always there",
        )
    ]
    compiled_in = CUDA_PROVIDER in ort.get_available_providers()
    reason = (
        "this release of Atelier runs models on the CPU"
        if compiled_in
        else "the installed ONNX Runtime was built without CUDA"
    )
    devices += [Device(f"cuda:{i}", text, used=False, reason=reason) for i, text in enumerate(_gpus())]
    return devices


def cpu_threads(cgroup: Path = Path("/sys/fs/cgroup")) -> int:
    """CPU threads this process may use: the affinity mask, cut down to the container's quota (cgroup v2 or v1)."""
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = _quota(cgroup)
    return affinity if quota is None else max(1, min(affinity, round(quota)))


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


def _gpus() -> list[str]:
    """Name and memory of each NVIDIA GPU; empty without a driver."""
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return []
    try:
        found = []
        for index in range(pynvml.nvmlDeviceGetCount()):
            handle = pynvml.nvmlDeviceGetHandleByIndex(index)
            memory_gib = pynvml.nvmlDeviceGetMemoryInfo(handle).total / 2**30
            found.append(f"{pynvml.nvmlDeviceGetName(handle)}, {memory_gib:.0f} GiB")
        return found
    except pynvml.NVMLError as error:
        return [f"GPU that the driver cannot describe: {error}"]
    finally:
        pynvml.nvmlShutdown()
