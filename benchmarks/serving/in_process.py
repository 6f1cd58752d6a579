"""ONNX Runtime in a separate process, without a server: ``python -m benchmarks.serving.in_process < plan.json``.

The minimum cost of a batch, on the servers' core.
"""

import json
import subprocess
import sys
import time
from pathlib import Path
from statistics import quantiles

from benchmarks.serving.load import Load


def in_process(model: Path, *, rows: int, seconds: float, core: int) -> Load:
    """Run batches of ``rows`` images, one after another, one thread."""
    plan = json.dumps({"model": str(model), "rows": rows, "seconds": seconds})
    command = ["taskset", "--cpu-list", str(core), sys.executable, "-m", "benchmarks.serving.in_process"]
    done = subprocess.run(command, input=plan, capture_output=True, text=True, check=True)
    return Load(**json.loads(done.stdout))


def main() -> None:
    """Plan from standard input, result to standard output."""
    import numpy as np
    import onnxruntime

    plan = json.load(sys.stdin)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(plan["model"], sess_options=options, providers=["CPUExecutionProvider"])
    pixels = np.random.default_rng(0).integers(0, 256, (plan["rows"], 28, 28), dtype=np.uint8)
    times: list[float] = []
    session.run(None, {"pixels": pixels})
    start = time.perf_counter()
    while (before := time.perf_counter()) - start < plan["seconds"] or len(times) < 100:
        session.run(None, {"pixels": pixels})
        times.append((time.perf_counter() - before) * 1e3)
    cuts = quantiles(times, n=100)
    rate = 1e3 * len(times) / sum(times)
    json.dump(
        {"rate_per_s": rate, "p50_ms": cuts[49], "p99_ms": cuts[98], "errors": 0, "requests": len(times)}, sys.stdout
    )


if __name__ == "__main__":
    main()
