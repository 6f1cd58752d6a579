"""CUDA for ONNX Runtime: libraries, session options, and page-locked memory."""

import ctypes
import os
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from functools import cache
from io import StringIO
from typing import Any

import numpy as np
import onnxruntime as ort

from app.errors import DeviceFault
from app.types import Array

CUDA_PROVIDER = "CUDAExecutionProvider"
_ERRORS_ONLY = 3
DRIVER = "libcuda.so.1"
# cudaHostAllocPortable: page-locked for all GPUs, not only for the current one.
_PORTABLE = 1


def cuda_version() -> str:
    """Version of CUDA that ONNX Runtime was built for, e.g. "13.0"; empty for a build without CUDA."""
    compiled_in = CUDA_PROVIDER in ort.get_available_providers()
    return str(getattr(ort, "cuda_version", "") or "") if compiled_in else ""


def needed_libraries(version: str) -> tuple[str, ...]:
    """Shared libraries of CUDA ``version`` that models require, the driver's own first.

    ONNX Runtime loads cuDNN only when a convolution or an LSTM runs, which is too late to report that it is missing.
    """
    major = version.split(".", maxsplit=1)[0]
    toolkit = (f"lib{name}.so.{major}" for name in ("cudart", "cublasLt", "cublas"))
    return (DRIVER, *toolkit, "libcurand.so.10", "libcudnn.so.9")


@cache
def missing_libraries() -> tuple[str, ...]:
    """Load the CUDA libraries, of the installed wheels or of the system. Returns the names of those that failed.

    Does so once, before the first session on a GPU. From then on GPU numbers are those of the driver.
    """
    os.environ.setdefault("CUDA_DEVICE_ORDER", "PCI_BUS_ID")
    with redirect_stdout(StringIO()):  # it prints what is missing; our own message replaces that
        ort.preload_dlls()
    # Otherwise every session on a GPU would warn that CUDA is not a plug-in of this build.
    ort.set_default_logger_severity(_ERRORS_ONLY)
    return find_missing(needed_libraries(cuda_version()), ctypes.CDLL)


def find_missing(names: Sequence[str], load: Callable[[str], object]) -> tuple[str, ...]:
    """The libraries for which ``load`` raises OSError."""
    missing = []
    for name in names:
        try:
            load(name)
        except OSError:
            missing.append(name)
    return tuple(missing)


def provider_options(device: str, gpu_mem_limit_mb: int | None) -> dict[str, str]:
    """Options of the CUDA execution provider.

    TF32 is off: it would round the factors of every product to 10 bits. cuDNN chooses convolutions by heuristics
        instead
    of measurements, so that a model uses the same ones after every start. The arena grows by the requested size instead
    of powers of two, because several versions share a GPU.

    Args:
        device: "cuda:N".
        gpu_mem_limit_mb: most memory of the session's arena, in MiB; None sets no limit.
    """
    options = {
        "device_id": device.partition(":")[2],
        "cudnn_conv_algo_search": "HEURISTIC",
        "arena_extend_strategy": "kSameAsRequested",
        "use_tf32": "0",
    }
    if gpu_mem_limit_mb is not None:
        options["gpu_mem_limit"] = str(gpu_mem_limit_mb * 2**20)
    return options


class PinnedMemory:
    """Page-locked memory of the host, which a GPU reads and writes directly.

    Args:
        device: "cuda:N" that uses the memory.
        runtime: the CUDA runtime library; None uses the library that is loaded.
    """

    def __init__(self, device: str, runtime: Any = None) -> None:
        major = cuda_version().split(".", maxsplit=1)[0]
        self._runtime = ctypes.CDLL(f"libcudart.so.{major}") if runtime is None else runtime
        self._device = int(device.partition(":")[2])
        self._pointers: list[int] = []

    def allocate(self, nbytes: int) -> Array:
        """Bytes, uint8 (nbytes,), until ``close``.

        Raises:
            DeviceFault: the driver cannot allocate it.
        """
        pointer = ctypes.c_void_p()
        self._do("cudaSetDevice", ctypes.c_int(self._device))
        self._do("cudaHostAlloc", ctypes.byref(pointer), ctypes.c_size_t(nbytes), ctypes.c_uint(_PORTABLE))
        assert pointer.value is not None
        self._pointers.append(pointer.value)
        return np.ctypeslib.as_array((ctypes.c_ubyte * nbytes).from_address(pointer.value))

    def close(self) -> None:
        """Free all of it; no array of it may be in use."""
        while self._pointers:
            self._runtime.cudaFreeHost(ctypes.c_void_p(self._pointers.pop()))

    def _do(self, function: str, *arguments: Any) -> None:
        code = getattr(self._runtime, function)(*arguments)
        if code:
            raise DeviceFault(f"{function} failed with CUDA error {code}")
