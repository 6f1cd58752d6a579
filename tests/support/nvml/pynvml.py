"""Replaces nvidia-ml-py where its directory is on PYTHONPATH: two GPUs, of which the second reports less.

The variable FAKE_NVML_LOST makes every query of a GPU fail, as for one that is lost;
FAKE_NVML_MISSING simulates a machine without a driver.
"""

# ruff: noqa: N802 - the library's names
import os
from types import SimpleNamespace

GIB = 2**30
UUIDS = ("GPU-aaaa1111", "GPU-bbbb2222")


class NVMLError(Exception):
    pass


def _ask(answer):
    if "FAKE_NVML_LOST" in os.environ:
        raise NVMLError("GPU is lost")
    return answer


def nvmlInit():
    if "FAKE_NVML_MISSING" in os.environ:
        raise NVMLError("Shared Library Not Found")


def nvmlShutdown():
    pass


def nvmlDeviceGetCount():
    return len(UUIDS)


def nvmlDeviceGetHandleByIndex(index):
    return index


def nvmlDeviceGetName(handle):
    return "Stand-in"


def nvmlDeviceGetUUID(handle):
    return _ask(UUIDS[handle])


def nvmlDeviceGetMemoryInfo(handle):
    return _ask(SimpleNamespace(total=8 * GIB, used=(handle + 1) * GIB))


def nvmlDeviceGetUtilizationRates(handle):
    return _ask(_first_only(handle, SimpleNamespace(gpu=40, memory=7)))


def nvmlDeviceGetPowerUsage(handle):
    return _ask(_first_only(handle, 70_500))


def _first_only(handle, answer):
    if handle:
        raise NVMLError("Not Supported")
    return answer
