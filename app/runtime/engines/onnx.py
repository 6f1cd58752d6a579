"""ONNX Runtime as a backend."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import onnxruntime as ort

from app.contract.dtypes import NAMES
from app.contract.graph_facts import GraphFacts, facts_of_onnx
from app.contract.model_spec import ModelSpec
from app.contract.tensor_spec import TensorSpec
from app.contract.version_files import Graph
from app.errors import BackendFailed, VersionRefused
from app.runtime.backend import Backend, row_count
from app.runtime.cuda import CUDA_PROVIDER
from app.runtime.devices import CPU_PROVIDER
from app.runtime.engines.bfloat16_tensors import BFloat16Tensors
from app.runtime.engines.graph_shapes import GraphShapes
from app.runtime.engines.string_tensors import StringTensors
from app.types import Array, Tensors

# It raises its errors as well, with the same text; its own lines would be in another form than the log.
_FATAL_ONLY = 4
# A path below a device cannot exist.
_NOWHERE = "/dev/null/"


class OnnxBackend(Backend):
    """One ONNX graph in one inference session, on the CPU or on a GPU.

    Args:
        graph: the verified bytes; or the path of a file that no other user may change.
        spec: its contract; names, element types and ranks must agree.
        threads: intra-op threads of the session, for operations on the CPU.
        cuda: options of the CUDA execution provider; None runs everything on the CPU.
        arena: keep the memory of tensors on the CPU for later batches; without, it is freed after each batch.

    Raises:
        VersionRefused: ONNX Runtime cannot load the graph, the graph disagrees with the contract, or the requested GPU
            does not run it.
    """

    def __init__(
        self,
        graph: Graph | Path,
        spec: ModelSpec,
        threads: int,
        *,
        cuda: Mapping[str, str] | None = None,
        arena: bool = True,
    ) -> None:
        graph = Graph(graph, graph) if isinstance(graph, Path) else graph
        path = graph.origin
        self._session = open_session(graph, threads, cuda=cuda, arena=arena)
        if cuda is not None and self.provider != CUDA_PROVIDER:
            raise VersionRefused(
                f"{path}: ONNX Runtime opened the graph with {self.provider} instead of {CUDA_PROVIDER}"
            )
        defaulted = self._session.get_overridable_initializers()
        _agree(path, "input", spec.inputs, self._session.get_inputs(), others=defaulted)
        _agree(path, "output", spec.outputs, [], others=self._session.get_outputs())
        self._outputs = [tensor.name for tensor in spec.outputs]
        self._batched = spec.batched
        inputs, outputs = ((each.name for each in part if each.is_string) for part in (spec.inputs, spec.outputs))
        self._strings = StringTensors(inputs, outputs)
        self._shapes = GraphShapes.needed_for(spec)
        self._bfloat16 = BFloat16Tensors.needed_for(spec)
        self._frees_spare = arena and cuda is None and self._bfloat16 is None

    @property
    def session(self) -> Any:
        """The ``onnxruntime.InferenceSession``."""
        return self._session

    @property
    def provider(self) -> str:
        """Execution provider in use."""
        return str(self._session.get_providers()[0])

    @property
    def runs_inline(self) -> bool:
        """True on the CPU. A call on a GPU waits for it, in a worker thread."""
        return self.provider == CPU_PROVIDER

    def run(self, inputs: Tensors) -> dict[str, Array]:
        """Run one batch; see ``Backend.run``."""
        return self._run(inputs, None)

    def free_spare(self, row: Tensors) -> None:
        """See ``Backend.free_spare``. A session keeps the memory of its largest batch otherwise.

        Source: ONNX Runtime, onnxruntime_run_options_config_keys.h, kOrtRunOptionsConfigEnableMemoryArenaShrinkage.
        """
        if self._frees_spare:
            options = ort.RunOptions()
            options.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
            self._run(row, options)

    def _run(self, inputs: Tensors, options: Any) -> dict[str, Array]:
        if self._shapes is not None:
            inputs = self._shapes.to_graph(inputs)
        try:
            inputs = self._strings.to_graph(inputs)
            if self._bfloat16 is None:
                found = self._session.run(self._outputs, inputs, options)
            else:
                found = self._bfloat16.run(self._session, self._outputs, inputs)
            answer = dict(zip(self._outputs, found, strict=True))
        except Exception as error:
            raise BackendFailed(f"ONNX Runtime: {error}") from error
        answer = self._strings.from_graph(answer)
        if self._batched:
            rows = row_count(inputs)
            for name, values in answer.items():
                if len(values) != rows:
                    raise BackendFailed(f"output {name!r} has {len(values)} rows for {rows} instances")
        return answer if self._shapes is None else self._shapes.from_graph(answer)

    def close(self) -> None:
        """Drop the session and its memory."""
        self._session = None


def read_facts(graph: Graph) -> GraphFacts:
    """The declared inputs and outputs. Opens the graph, unoptimized, and closes it again.

    Raises:
        VersionRefused: ONNX Runtime cannot load the graph.
    """
    session = open_session(graph, 1, is_optimized=False)
    defaulted = facts_of_onnx(session.get_overridable_initializers(), optional=True)
    return GraphFacts((*facts_of_onnx(session.get_inputs()), *defaulted), facts_of_onnx(session.get_outputs()))


def open_session(
    graph: Graph,
    threads: int,
    *,
    cuda: Mapping[str, str] | None = None,
    arena: bool = True,
    is_optimized: bool = True,
) -> Any:
    """An ``onnxruntime.InferenceSession``; the arguments are those of ``OnnxBackend``.

    Raises:
        VersionRefused: ONNX Runtime cannot load the graph.
    """
    options = _session_options(graph, threads)
    options.enable_cpu_mem_arena = arena
    if not is_optimized:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    source = graph.source if isinstance(graph.source, bytes) else str(graph.source)
    try:
        # Without ONNX Runtime's own fallback, which runs a model on the CPU and only prints that to standard output.
        session = ort.InferenceSession(source, options, providers=_providers(cuda), enable_fallback=0)
    except Exception as error:
        folder = _NOWHERE.rstrip("/") if isinstance(graph.source, bytes) else str(graph.source.parent)
        why = str(error).replace(folder, str(graph.origin.parent))  # not the path of the private copy
        raise VersionRefused(f"{graph.origin}: ONNX Runtime cannot load the graph: {why}") from error
    # The library's wrapper keeps the bytes for its fallback, which is disabled here.
    session._model_bytes = None
    return session


def _session_options(graph: Graph, threads: int) -> ort.SessionOptions:
    """Options of every session."""
    options = ort.SessionOptions()
    if isinstance(graph.source, bytes):
        # Otherwise weights outside the graph would be looked for in the working directory.
        options.add_session_config_entry("session.model_external_initializers_file_folder_path", _NOWHERE)
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Spinning threads use a full core each while the service is idle.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = _FATAL_ONLY
    return options


def _providers(cuda: Mapping[str, str] | None) -> list[Any]:
    """Providers in order of precedence: operations without a CUDA kernel run on the CPU."""
    return [CPU_PROVIDER] if cuda is None else [(CUDA_PROVIDER, dict(cuda)), CPU_PROVIDER]


def _agree(path: Path, kind: str, expected: tuple[TensorSpec, ...], needed: list[Any], *, others: list[Any]) -> None:
    """Refuse a contract that does not fit the tensors of a graph.

    Args:
        path: of the graph, for messages.
        kind: input or output.
        expected: in the contract.
        needed: of the graph; the contract has all of them.
        others: of the graph; the contract may leave them out, so that outputs are not computed, and inputs have their
            defaults.
    """
    required, graph = ({each.name: (each.type, len(each.shape)) for each in nodes} for nodes in (needed, others))
    graph |= required
    contract = {tensor.name: (NAMES[tensor.dtype].onnx, tensor.graph_rank) for tensor in expected}
    if not required.items() <= contract.items() <= graph.items():
        raise VersionRefused(f"{path}: the graph's {kind}s are {graph}, model.json says {contract}")
