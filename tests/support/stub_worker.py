"""Replaces the process that runs a SavedModel, without TensorFlow: y = 2x - 1, and failures for some values of x.

``python -m tests.support.stub_worker DIRECTORY THREADS``; the directory is one of ``write_rule_model``.
"""

import os
import signal
import sys
import time
from pathlib import Path

from app.runtime.engines.worker_loop import serve

STUB = (sys.executable, "-m", "tests.support.stub_worker")

# Values of x: the process is killed while it runs the batch; the batch is refused; it never ends.
DEADLY, REFUSED, ENDLESS = 99.0, 98.0, 97.0
# Files next to the model: the process reports that it cannot load; it never reports anything.
CANNOT_LOAD, NEVER_READY = "cannot-load", "never-ready"


def load(directory: Path):
    if (directory / NEVER_READY).exists():
        time.sleep(600)
    if (directory / CANNOT_LOAD).exists():
        raise ValueError("this cannot be loaded")
    signature = {"inputs": {"x": ["float32", [None, 1]]}, "outputs": {"values": ["float32", [None, 1]]}}
    return {"serving_default": signature}, run


def run(signature, inputs):
    x = inputs["x"]
    if (x == DEADLY).any():
        os.kill(os.getpid(), signal.SIGKILL)
    if (x == REFUSED).any():
        raise ValueError("this is refused")
    if (x == ENDLESS).any():
        time.sleep(600)
    return {"values": 2 * x - 1}


if __name__ == "__main__":
    serve(lambda: load(Path(sys.argv[1])))
