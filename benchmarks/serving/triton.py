"""An installed Triton with its ONNX Runtime backend, in C++: no package index has one, so its directory is given.

Source: Triton, Model repository and Model configuration (dynamic_batching, optimization of the ONNX Runtime backend).
"""

import shutil
from pathlib import Path

from benchmarks.serving.errors import Unavailable
from benchmarks.serving.process import free_port

MAX_BATCH_SIZE = 256
"""A client may send so many rows at once."""
CONFIG = """name: "peer"
backend: "onnxruntime"
max_batch_size: %d
dynamic_batching {}
instance_group [{ kind: KIND_CPU count: 1 }]
parameters { key: "intra_op_thread_count" value: { string_value: "1" } }
parameters { key: "inter_op_thread_count" value: { string_value: "1" } }
"""


def triton_command(installed: Path | None, *, model: Path, work: Path, port: int) -> list[str]:
    """The command that serves one ONNX file as the model ``peer``; one HTTP thread, as there is one core.

    Args:
        installed: directory of Triton, with bin/tritonserver and backends/onnxruntime; None if none was given.
        model: ONNX file whose input and output have a free first dimension.
        work: directory for the model repository.
        port: for HTTP.

    Raises:
        Unavailable: there is no such Triton.
    """
    if installed is None:
        raise Unavailable("no installed Triton was given: --triton PATH")
    server, backends = installed / "bin/tritonserver", installed / "backends"
    for path in (server, backends / "onnxruntime"):
        if not path.exists():
            raise Unavailable(f"--triton {installed}: {path} does not exist")
    version = work / "triton" / "peer" / "1"
    version.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(model, version / "model.onnx")
    (version.parent / "config.pbtxt").write_text(CONFIG % MAX_BATCH_SIZE, encoding="utf-8")
    return [
        str(server),
        f"--model-repository={version.parents[1]}",
        f"--backend-directory={backends}",
        f"--http-port={port}",
        "--http-address=127.0.0.1",
        "--http-thread-count=1",
        f"--grpc-port={free_port()}",
        "--allow-metrics=false",
    ]
