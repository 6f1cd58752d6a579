"""Converts tensors of strings: in the service they are ``bytes``, in ONNX Runtime ``str``."""

from collections.abc import Iterable

from app.contract.strings import decoded, encoded
from app.types import Array, Tensors


class StringTensors:
    """Converts the inputs and outputs of one graph.

    Args:
        inputs, outputs: names of those that hold strings.
    """

    def __init__(self, inputs: Iterable[str], outputs: Iterable[str]) -> None:
        self._inputs, self._outputs = tuple(inputs), tuple(outputs)

    def to_graph(self, inputs: Tensors) -> Tensors:
        """Inputs as ONNX Runtime takes them; an optional one may be missing. Raises UnicodeDecodeError."""
        if not self._inputs:
            return inputs
        return {**inputs, **{name: decoded(inputs[name]) for name in self._inputs if name in inputs}}

    def from_graph(self, outputs: dict[str, Array]) -> dict[str, Array]:
        """Outputs as the service takes them."""
        return outputs | {name: encoded(outputs[name]) for name in self._outputs} if self._outputs else outputs
