"""Runs an ONNX graph with tensors of bfloat16, which ONNX Runtime's interface to NumPy does not have.

Their bits go in and come out through its own ``OrtValue``; elsewhere they are float32 (``contract.bfloat16``).
"""

import ctypes
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnxruntime as ort

from app.contract.bfloat16 import BFLOAT16, narrowed, widened
from app.contract.model_spec import ModelSpec
from app.errors import VersionRefused
from app.types import Array, Tensors

# onnx.TensorProto.BFLOAT16; the service does not have that package.
_ONNX_BFLOAT16 = 16


class BFloat16Tensors:
    """Converts the inputs and outputs of one contract.

    Args:
        spec: of the model.

    Raises:
        VersionRefused: it has an output of bfloat16, and an input of strings, which cannot become an ``OrtValue``.
    """

    def __init__(self, spec: ModelSpec) -> None:
        self._inputs = frozenset(each.name for each in spec.inputs if each.dtype == BFLOAT16)
        self._outputs = frozenset(each.name for each in spec.outputs if each.dtype == BFLOAT16)
        strings = [each.name for each in spec.inputs if each.is_string]
        if self._outputs and strings:
            raise VersionRefused(
                f"output {min(self._outputs)!r} is a bfloat16, and input {strings[0]!r} holds strings; ONNX Runtime's "
                "Python interface does not run such a graph: append a Cast to float to the output"
            )

    @classmethod
    def needed_for(cls, spec: ModelSpec) -> "BFloat16Tensors | None":
        """The conversion; None if no tensor is of bfloat16."""
        is_needed = any(each.dtype == BFLOAT16 for each in (*spec.inputs, *spec.outputs))
        return cls(spec) if is_needed else None

    def run(self, session: Any, outputs: Sequence[str], inputs: Tensors) -> list[Array]:
        """As ``InferenceSession.run``.

        Args:
            session: the ``onnxruntime.InferenceSession``.
            outputs: names of those to compute.
            inputs: name -> array; float32 for bfloat16.
        """
        feed: dict[str, Any] = dict(inputs)
        for name in self._inputs & inputs.keys():
            feed[name] = ort.OrtValue.ortvalue_from_numpy_with_onnx_type(narrowed(inputs[name]), _ONNX_BFLOAT16)
        if not self._outputs:
            found: list[Array] = session.run(outputs, feed)
            return found
        for name in inputs.keys() - self._inputs:
            feed[name] = ort.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(inputs[name]))
        values = session.run_with_ort_values(outputs, feed)
        return [
            _read(value) if name in self._outputs else value.numpy()
            for name, value in zip(outputs, values, strict=True)
        ]


def _read(value: Any) -> Array:
    """A tensor of bfloat16 in the memory of the CPU, copied."""
    shape = tuple(value.shape())
    count = value.tensor_size_in_bytes() // 2
    if not count:
        return np.empty(shape, np.float32)
    bits = np.frombuffer((ctypes.c_uint16 * count).from_address(value.data_ptr()), np.uint16)
    return widened(bits).reshape(shape)
