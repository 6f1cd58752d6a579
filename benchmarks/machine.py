"""The machine on which a figure was measured."""

import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from app.runtime.devices import cpu_threads

PACKAGES = ("fastapi", "uvicorn", "onnxruntime-gpu", "numpy", "pysimdjson", "orjson")


def describe() -> dict[str, object]:
    """CPU, cores, Python, and the versions of the installed packages among those that matter."""
    return {
        "cpu": _cpu_name(),
        "cpu_threads": cpu_threads(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "packages": {name: found for name in PACKAGES if (found := _version(name))},
    }


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())
