"""The environment of a run, and TensorFlow without its messages."""

import importlib.metadata
import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from training.recurrent_on_cpu import trace_for_the_cpu_alone

THREADS = 2
"""Threads of one operation. This number decides the order in which partial sums are added, and thus the last bits of
every step: with a fixed number, a training gives the same weights on every machine of one kind. TF_NUM_INTRAOP_THREADS
overrides it, for machines with more cores."""

COMMAND = ("python", "-m", __name__.rpartition(".")[0])
"""The command line of training, in a checkout or installed."""
PACKAGES = ("tensorflow", "tf_keras", "tf2onnx", "onnx", "onnxruntime", "numpy", "pillow")


def quiet_tensorflow() -> None:
    """Import TensorFlow without its start-up messages, and only with the CPU.

    The published figures were measured on a CPU, and a GPU's LSTM cannot be exported. Set CUDA_VISIBLE_DEVICES
    yourself to train on a GPU. ``tf.keras`` is tf_keras, which trains: TensorFlow otherwise imports Keras 3 too, with
    all that it draws and measures with, for more than a second.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
    with native_stderr_discarded():
        import tensorflow as tf
        import tf_keras  # noqa: F401  (its first import talks as well)

        if tf.config.threading.get_intra_op_parallelism_threads() != threads():
            tf.config.threading.set_intra_op_parallelism_threads(threads())
        if not tf.config.list_physical_devices("GPU"):
            trace_for_the_cpu_alone()
    tf.get_logger().setLevel("ERROR")


def threads() -> int:
    """Threads of one operation in training."""
    return int(os.environ.get("TF_NUM_INTRAOP_THREADS") or THREADS)


@contextmanager
def native_stderr_discarded() -> Iterator[None]:
    """Silence file descriptor 2: TensorFlow writes to it before it reads TF_CPP_MIN_LOG_LEVEL, and its converters do so
    at any level. Exceptions surface."""
    sys.stderr.flush()
    saved, nothing = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nothing, 2)
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        os.close(nothing)


def packages() -> dict[str, str]:
    """Package -> version, for the packages that affect the result."""
    versions = {"python": platform.python_version()}
    for name in PACKAGES:
        for distribution in (name, f"{name}-gpu", f"{name}-cpu"):
            try:
                versions[name] = importlib.metadata.version(distribution)
                break
            except importlib.metadata.PackageNotFoundError:
                continue
    return versions


def hardware() -> dict[str, Any]:
    """Name of the CPU, number of cores that this process may use, and threads of one operation."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "cpu": _cpu_name(),
        "cpu_count": usable,
        "threads": threads(),
        "system": f"{platform.system()} {platform.machine()}",
    }


def _cpu_name() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def commit() -> str | None:
    """The git commit of the source, with ``+`` if files differ from it; None outside a repository."""
    root = Path(__file__).parent
    try:
        _git(root, "ls-files", "--error-unmatch", Path(__file__).name)  # an installed file is of no commit
        head = _git(root, "rev-parse", "HEAD")
        return f"{head}+" if _git(root, "status", "--porcelain", "--untracked-files=no") else head
    except (OSError, subprocess.CalledProcessError):
        return None


def _git(root: Path, *arguments: str) -> str:
    finished = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, check=True)
    return finished.stdout.strip()


def command() -> str:
    """The command line of this process, as a user would type it."""
    return shlex.join([*COMMAND, *sys.argv[1:]])
