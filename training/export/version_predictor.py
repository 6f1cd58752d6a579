"""A version as something that predicts, like a Keras model."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from app.contract.model_spec import ModelSpec
from training.export.model_export import Runner

Array = npt.NDArray[Any]


class VersionPredictor:
    """Predicts with a file of a version, so with all that was published.

    Args:
        spec: its contract; the first output is the answer.
        run: runs the file, see ``training.export.model_export``.
    """

    def __init__(self, spec: ModelSpec, run: Runner) -> None:
        self._spec, self._run = spec, run

    def predict(self, dataset: Any, verbose: int = 0) -> Array:
        """The first output for all batches of a tf.data.Dataset of (inputs, targets): (rows, *shape)."""
        return np.concatenate([self._answer(inputs) for inputs, _ in dataset])

    def _answer(self, inputs: Any) -> Array:
        return self._run(arrays_of(inputs, self._spec))[self._spec.outputs[0].name]


def arrays_of(inputs: Any, spec: ModelSpec) -> dict[str, Array]:
    """The inputs of a batch by name: (rows, *shape) each, from the tensor of the only input or tensors by name."""
    tensors = inputs if isinstance(inputs, Mapping) else {spec.inputs[0].name: inputs}
    return {name: np.asarray(tensor) for name, tensor in tensors.items()}
