"""ONNX Runtime as a backend."""

from pathlib import Path
from typing import Any

import onnxruntime as ort

from app.contract.model_spec import ModelSpec, TensorSpec
from app.errors import BackendFailed, VersionRefused
from app.runtime.backend import Array, Tensors, row_count

# ONNX Runtime's names for the element types that a signature can have.
_TYPES = {"uint8": "tensor(uint8)", "int32": "tensor(int32)", "float32": "tensor(float)"}
_ERRORS_ONLY = 3


class OnnxBackend:
    """One ONNX graph in one inference session on the CPU.

    Args:
        path: the graph.
        spec: its contract; names, element types and ranks must agree.
        threads: intra-op threads of the session.

    Raises:
        VersionRefused: ONNX Runtime cannot load the graph, or it disagrees with the contract.
    """

    def __init__(self, path: Path, spec: ModelSpec, threads: int) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        # Spinning threads burn a core each while the service idles.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = _ERRORS_ONLY
        try:
            self._session: Any = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:
            raise VersionRefused(f"{path}: ONNX Runtime cannot load the graph: {error}") from error
        _agree(path, "input", spec.inputs, self._session.get_inputs())
        _agree(path, "output", spec.outputs, self._session.get_outputs())
        self._outputs = [tensor.name for tensor in spec.outputs]

    @property
    def provider(self) -> str:
        """Execution provider in use."""
        return str(self._session.get_providers()[0])

    def run(self, inputs: Tensors) -> dict[str, Array]:
        """Run one batch; see ``Backend.run``."""
        try:
            results = self._session.run(self._outputs, inputs)
        except Exception as error:
            raise BackendFailed(f"ONNX Runtime: {error}") from error
        rows = row_count(inputs)
        for name, values in zip(self._outputs, results, strict=True):
            if len(values) != rows:
                raise BackendFailed(f"output {name!r} has {len(values)} rows for {rows} instances")
        return dict(zip(self._outputs, results, strict=True))

    def close(self) -> None:
        """Drop the session and its memory."""
        self._session = None


def _agree(path: Path, kind: str, wanted: tuple[TensorSpec, ...], found: list[Any]) -> None:
    graph = {node.name: (node.type, len(node.shape)) for node in found}
    contract = {tensor.name: (_TYPES[tensor.dtype], len(tensor.batch_shape)) for tensor in wanted}
    if graph != contract:
        raise VersionRefused(f"{path}: the graph's {kind}s are {graph}, model.json says {contract}")
