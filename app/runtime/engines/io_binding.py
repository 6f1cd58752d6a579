"""Runs an ONNX graph on buffers that are allocated once and bound to the session.

For a GPU the buffers are page-locked. ONNX Runtime copies an input when it is bound, and copies an output into its
buffer when the graph has run. On the CPU it computes directly in the buffers, so the same code is tested there.
"""

from bisect import bisect_left
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from app.contract.model_spec import ModelSpec
from app.contract.steps import TextPreprocessing
from app.contract.tensor_spec import TensorSpec
from app.contract.version_files import Graph
from app.errors import BackendFailed
from app.runtime.backend import Backend, row_count
from app.runtime.cuda import PinnedMemory, provider_options
from app.runtime.engines.onnx import OnnxBackend
from app.runtime.warmup import batch_sizes_up_to
from app.types import Array, Tensors


class HostMemory(Protocol):
    """Allocates buffers."""

    def allocate(self, nbytes: int) -> Array:
        """Bytes, uint8 (nbytes,), until ``close``."""
        ...

    def close(self) -> None:
        """Free all of it; no array of it may be in use."""
        ...


class OrdinaryMemory:
    """Ordinary memory, for the CPU."""

    def allocate(self, nbytes: int) -> Array:
        """See ``HostMemory``."""
        return np.empty(nbytes, np.uint8)

    def close(self) -> None:
        """See ``HostMemory``; arrays free themselves."""


class BoundBackend(Backend):
    """An ONNX backend with buffers for fixed batch sizes; a batch is padded with rows up to the next of them.

    Args:
        backend: runs larger batches without buffers; closed with this one.
        spec: its contract.
        batch_sizes: increasing.
        memory: allocates the buffers; closed with this one.

    Raises:
        BackendFailed: the buffers do not fit the memory.
    """

    def __init__(self, backend: OnnxBackend, spec: ModelSpec, batch_sizes: Sequence[int], memory: HostMemory) -> None:
        self._backend = backend
        self._memory = memory
        self._batch_sizes = tuple(batch_sizes)
        try:
            self._buffers = [_Buffers(backend.session, spec, size, memory) for size in self._batch_sizes]
        except BaseException:
            memory.close()
            raise

    @property
    def provider(self) -> str:
        """Execution provider in use."""
        return self._backend.provider

    def run(self, inputs: Tensors) -> dict[str, Array]:
        """Run one batch; see ``Backend.run``."""
        rows = row_count(inputs)
        index = bisect_left(self._batch_sizes, rows)
        if index == len(self._batch_sizes):
            return self._backend.run(inputs)
        try:
            return self._buffers[index].run(inputs, rows)
        except BackendFailed:
            raise
        except Exception as error:
            raise BackendFailed(f"ONNX Runtime: {error}") from error

    def close(self) -> None:
        """Drop the session, then the memory bound to it."""
        self._buffers = []
        self._batch_sizes = ()
        self._backend.close()
        self._memory.close()


class _Buffers:
    """Buffers of one batch size, and their binding."""

    def __init__(self, session: Any, spec: ModelSpec, size: int, memory: HostMemory) -> None:
        self._session, self._spec, self._size, self._memory = session, spec, size, memory
        self._binding = session.io_binding()
        step = spec.preprocessing
        longest = step.max_length if isinstance(step, TextPreprocessing) else 0
        self._blocks = {tensor.name: memory.allocate(_nbytes(tensor, size, longest)) for tensor in spec.inputs}
        # ONNX Runtime allocates outputs whose shape depends on the input, again in every run.
        self._fixed: dict[str, Array] = {}
        for tensor in spec.outputs:
            if not tensor.is_variable:
                shape = (size, *tensor.shape)
                block = memory.allocate(_nbytes(tensor, size, 0))
                self._fixed[tensor.name] = block.view(tensor.dtype).reshape(shape)
                self._binding.bind_output(tensor.name, "cpu", 0, np.dtype(tensor.dtype).type, shape, block.ctypes.data)

    def run(self, inputs: Tensors, rows: int) -> dict[str, Array]:
        """Run ``rows`` rows, at most the size of the buffers.

        Returns:
            New arrays: the next run overwrites the buffers.
        """
        binding = self._binding
        for tensor in self._spec.inputs:
            given = inputs[tensor.name]
            buffer = self._input(tensor, (self._size, *given.shape[1:]))
            buffer[:rows] = given
            buffer[rows:] = given[-1:]
            binding.bind_input(tensor.name, "cpu", 0, np.dtype(tensor.dtype).type, buffer.shape, buffer.ctypes.data)
        for tensor in self._spec.outputs:
            if tensor.name not in self._fixed:
                binding.bind_output(tensor.name, "cpu")
        binding.synchronize_inputs()
        self._session.run_with_iobinding(binding)
        binding.synchronize_outputs()
        return self._answer(rows)

    def _input(self, tensor: TensorSpec, shape: tuple[int, ...]) -> Array:
        """A buffer of that shape; it grows for an instance longer than all earlier ones."""
        nbytes = int(np.prod(shape)) * np.dtype(tensor.dtype).itemsize
        block = self._blocks[tensor.name]
        if block.nbytes < nbytes:
            block = self._blocks[tensor.name] = self._memory.allocate(max(nbytes, 2 * block.nbytes))
        return block[:nbytes].view(tensor.dtype).reshape(shape)

    def _answer(self, rows: int) -> dict[str, Array]:
        answer = {name: values[:rows].copy() for name, values in self._fixed.items()}
        if len(answer) == len(self._spec.outputs):
            return answer
        # In the order of the first binding: the fixed ones, then the others.
        variable = [tensor.name for tensor in self._spec.outputs if tensor.name not in self._fixed]
        for name, value in zip(variable, self._binding.get_outputs()[len(self._fixed) :], strict=True):
            values = value.numpy()
            if len(values) != self._size:
                raise BackendFailed(f"output {name!r} has {len(values)} rows for {self._size} instances")
            answer[name] = values[:rows].copy()
        return {tensor.name: answer[tensor.name] for tensor in self._spec.outputs}


def open_on_gpu(
    graph: Graph, spec: ModelSpec, device: str, *, gpu_mem_limit_mb: int | None, max_batch_size: int
) -> BoundBackend:
    """A graph on a GPU, with page-locked buffers for batches of 1, 2, 4, ... ``max_batch_size``.

    Raises:
        VersionRefused: see ``OnnxBackend``.
        BackendFailed: page-locked memory is not available.
    """
    # Operations without a CUDA kernel run on the CPU, in the calling thread.
    backend = OnnxBackend(graph, spec, threads=1, cuda=provider_options(device, gpu_mem_limit_mb))
    try:
        sizes = batch_sizes_up_to(max_batch_size) if all(map(_is_bound, (*spec.inputs, *spec.outputs))) else []
        return BoundBackend(backend, spec, sizes, PinnedMemory(device))
    except BaseException:
        backend.close()
        raise


def _is_bound(tensor: TensorSpec) -> bool:
    """Whether there may be buffers for a tensor.

    They have the shape and the dtype of the contract, and an input with a buffer is always given.
    """
    is_converted = tensor.graph_shape is not None or tensor.is_string or tensor.is_bfloat16
    return not is_converted and not tensor.optional


def _nbytes(tensor: TensorSpec, rows: int, longest: int) -> int:
    """Bytes of that many rows; a variable size counts as ``longest``."""
    elements = int(np.prod([longest if size == -1 else size for size in tensor.shape], dtype=np.int64))
    return max(1, rows * elements) * np.dtype(tensor.dtype).itemsize
