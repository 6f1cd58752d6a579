"""NVIDIA's side of ONNX Runtime: its libraries, the options of its sessions, and page-locked memory."""

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
# cudaHostAllocPortable: page-locked for every GPU, not only for the one at hand.
_PORTABLE = 1


def cuda_version() -> str:
    """Version of CUDA that ONNX Runtime was built for, e.g. "13.0"; empty for a build without."""
    compiled_in = CUDA_PROVIDER in ort.get_available_providers()
    return str(getattr(ort, "cuda_version", "") or "") if compiled_in else ""


def needed_libraries(version: str) -> tuple[str, ...]:
    """Shared libraries that models want of CUDA ``version``, the driver's own first.

    cuDNN is loaded by ONNX Runtime only when a convolution or an LSTM runs, which is too late to do without.
    """
    major = version.split(".", maxsplit=1)[0]
    toolkit = (f"lib{name}.so.{major}" for name in ("cudart", "cublasLt", "cublas"))
    return (DRIVER, *toolkit, "libcurand.so.10", "libcudnn.so.9")


@cache
def missing_libraries() -> tuple[str, ...]:
    """Load the CUDA libraries, of the installed wheels or of the system, and name those that cannot be loaded.

    Does so once; before the first session on a GPU. Numbers of GPUs are from now on those of the driver.
    """
    os.environ.setdefault("CUDA_DEVICE_ORDER", "PCI_BUS_ID")
    with redirect_stdout(StringIO()):  # it prints what is missing; that is said in our own words
        ort.preload_dlls()
    # Every session on a GPU would warn that CUDA is no plug-in of this build.
    ort.set_default_logger_severity(_ERRORS_ONLY)
    return find_missing(needed_libraries(cuda_version()), ctypes.CDLL)


def find_missing(names: Sequence[str], load: Callable[[str], object]) -> tuple[str, ...]:
    """Those of the libraries for which ``load`` raises OSError."""
    missing = []
    for name in names:
        try:
            load(name)
        except OSError:
            missing.append(name)
    return tuple(missing)


def provider_options(device: str, gpu_mem_limit_mb: int | None) -> dict[str, str]:
    """Options of the CUDA execution provider.

    TF32 is off: it would round the factors of every product to 10 bits. cuDNN's heuristics choose the convolutions, not
    measurements, so that a model takes the same ones at every start. Memory grows by what is asked for, not by powers
    of two, because several versions share a GPU.

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
    """Page-locked memory of the host, which a GPU reads and writes without a detour.

    Args:
        device: "cuda:N" that is to be fed.
        runtime: the CUDA runtime library; None opens the one that is loaded.
    """

    def __init__(self, device: str, runtime: Any = None) -> None:
        major = cuda_version().split(".", maxsplit=1)[0]
        self._runtime = ctypes.CDLL(f"libcudart.so.{major}") if runtime is None else runtime
        self._device = int(device.partition(":")[2])
        self._pointers: list[int] = []

    def allocate(self, nbytes: int) -> Array:
        """Bytes, uint8 (nbytes,), until ``close``.

        Raises:
            DeviceFault: the driver gives none.
        """
        pointer = ctypes.c_void_p()
        self._do("cudaSetDevice", ctypes.c_int(self._device))
        self._do("cudaHostAlloc", ctypes.byref(pointer), ctypes.c_size_t(nbytes), ctypes.c_uint(_PORTABLE))
        assert pointer.value is not None
        self._pointers.append(pointer.value)
        return np.ctypeslib.as_array((ctypes.c_ubyte * nbytes).from_address(pointer.value))

    def close(self) -> None:
        """Give all of it back; no array of it is used any more."""
        while self._pointers:
            self._runtime.cudaFreeHost(ctypes.c_void_p(self._pointers.pop()))

    def _do(self, function: str, *arguments: Any) -> None:
        code = getattr(self._runtime, function)(*arguments)
        if code:
            raise DeviceFault(f"{function} failed with CUDA error {code}")
