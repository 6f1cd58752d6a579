"""What is known of the named arrays of a training part: the inputs of the network and their ranges. No TensorFlow."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from app.contract.tensor_spec import TensorSpec
from training.datasets.splits import Examples
from training.errors import DataUnusable


@dataclass(frozen=True, kw_only=True, eq=False)
class FittedArray:
    """One input, as the training part has it.

    Attributes:
        dtype: uint8, int32 or float32.
        mean, deviation: float32 (*shape,), of each element; the deviation is 1 where all rows are equal.
        low, high: of the same shape: smallest and largest value of each element.
        largest: for int32: the largest value that the network accepts.
    """

    name: str
    dtype: str
    mean: npt.NDArray[np.float32]
    deviation: npt.NDArray[np.float32]
    low: npt.NDArray[Any]
    high: npt.NDArray[Any]
    largest: int

    @property
    def input(self) -> TensorSpec:
        """uint8 takes every value, as pixels do; int32 from the smallest of the training part, or 0, to ``largest``."""
        if self.dtype != "int32":
            return TensorSpec(name=self.name, dtype=self.dtype, shape=self.mean.shape)
        smallest = min(0, int(self.low.min()))
        return TensorSpec(
            name=self.name, dtype="int32", shape=self.mean.shape, minimum=smallest, maximum=float(self.largest)
        )


@dataclass(frozen=True, kw_only=True)
class FittedArrays:
    """All inputs, in the order of the data."""

    arrays: tuple[FittedArray, ...]

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """One for each array."""
        return tuple(array.input for array in self.arrays)

    def __getitem__(self, name: str) -> FittedArray:
        """The array called ``name``; raises KeyError, which names all, without one."""
        found = {array.name: array for array in self.arrays}
        if name not in found:
            raise KeyError(f"there is no array {name!r}; there are: {', '.join(found)}")
        return found[name]


def fit_arrays(instances: npt.NDArray[Any], largest: Mapping[str, int]) -> FittedArrays:
    """Measure the arrays of a training part.

    Args:
        instances: structured array (rows,) with a field for each input.
        largest: name -> largest value of an int32 array, if it is larger than those of the training part.
    """
    return FittedArrays(arrays=tuple(_fit(name, instances[name], largest) for name in instances.dtype.names or ()))


def _fit(name: str, values: npt.NDArray[Any], largest: Mapping[str, int]) -> FittedArray:
    deviation = values.std(axis=0, dtype=np.float64)
    low, high = values.min(axis=0), values.max(axis=0)
    return FittedArray(
        name=name,
        dtype=values.dtype.name,
        mean=values.mean(axis=0, dtype=np.float64).astype(np.float32),
        deviation=np.where(deviation > 0, deviation, 1.0).astype(np.float32),
        low=low,
        high=high,
        largest=max(largest.get(name, 0), int(high.max())) if values.dtype.kind == "i" else 0,
    )


def check_range(inputs: tuple[TensorSpec, ...], part: str, examples: Examples) -> None:
    """Refuse rows with whole numbers that the network has no place for.

    Raises:
        DataUnusable: names the part, the row, the value and the range.
    """
    instances = np.asarray(examples.instances)
    for tensor in inputs:
        if tensor.dtype != "int32" or tensor.minimum is None or tensor.maximum is None or not len(instances):
            continue
        values = instances[tensor.name].reshape(len(instances), -1)
        outside = (values < tensor.minimum) | (values > tensor.maximum)
        rows = np.flatnonzero(outside.any(axis=1))
        if len(rows):
            raise DataUnusable(
                f"row {rows[0]} of the {part} part has {values[rows[0]][outside[rows[0]]][0]} in {tensor.name!r}, but "
                f"the training part has {tensor.minimum:g} to {tensor.maximum:g}; if larger values are valid, state "
                f"them in pipeline.largest"
            )
