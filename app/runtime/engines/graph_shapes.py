"""Converts between tensors of a batch and those of a graph without a batch, or with other shapes than clients see."""

import numpy as np

from app.contract.model_spec import ModelSpec
from app.types import Array, Tensors


class GraphShapes:
    """Converts the inputs and outputs of one contract.

    Args:
        spec: of the model.
    """

    def __init__(self, spec: ModelSpec) -> None:
        self._batched = spec.batched
        self._whole = spec.whole
        self._inputs = {each.name: each.graph_shape for each in spec.inputs if each.graph_shape is not None}
        self._outputs = {each.name: each.shape for each in spec.outputs if each.graph_shape is not None}

    @classmethod
    def needed_for(cls, spec: ModelSpec) -> "GraphShapes | None":
        """The conversion; None if the tensors of a batch are those of the graph."""
        shapes = cls(spec)
        return shapes if shapes._inputs or shapes._outputs or shapes._whole or not spec.batched else None

    def to_graph(self, inputs: Tensors) -> Tensors:
        """Inputs as the graph takes them, from (rows, *shape) each; one without a batch dimension is its first row."""
        if not self._batched:
            return {name: values.reshape(values.shape[1:]) for name, values in inputs.items()}
        reshaped = {name: _reshaped(inputs[name], shape) for name, shape in self._inputs.items() if name in inputs}
        return {**inputs, **reshaped, **{name: _first(inputs[name]) for name in self._whole if name in inputs}}

    def from_graph(self, outputs: Tensors) -> dict[str, Array]:
        """Outputs (rows, *shape), from those of the graph."""
        if not self._batched:
            return {name: values[np.newaxis] for name, values in outputs.items()}
        return {**outputs, **{name: _reshaped(outputs[name], shape) for name, shape in self._outputs.items()}}


def _first(values: Array) -> Array:
    return values[:1].reshape(values.shape[1:])


def _reshaped(values: Array, shape: tuple[int, ...]) -> Array:
    return values.reshape(len(values), *shape)
