"""What is known of the columns of a training part: the encoding that travels inside the network. No TensorFlow."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from app.contract.tensor_spec import TensorSpec

MOST_CATEGORIES = 500
"""Categories of a column that have an embedding of their own, most frequent first; the others count as unknown."""


@dataclass(frozen=True, kw_only=True)
class NumberColumn:
    """A column of numbers.

    Attributes:
        mean, deviation: of the values that are present; the deviation is 1 if all are equal.
        low, high: the 1st and the 99th percentile.
        missing: share of the rows without a value.
    """

    name: str
    mean: float
    deviation: float
    low: float
    high: float
    missing: float

    @property
    def input(self) -> TensorSpec:
        """One float32; NaN stands for a missing value, and is refused if the training had none."""
        return TensorSpec(name=self.name, dtype="float32", shape=(), finite=not self.missing)


@dataclass(frozen=True, kw_only=True)
class CategoryColumn:
    """A column of categories.

    Attributes:
        values: most frequent first; an empty one stands for a missing value.
        shares: of the rows, in the same order.
    """

    name: str
    values: tuple[str, ...]
    shares: tuple[float, ...]

    @property
    def input(self) -> TensorSpec:
        """One string, any; one that the training did not have counts as unknown."""
        return TensorSpec(name=self.name, dtype="string", shape=())


@dataclass(frozen=True, kw_only=True)
class FittedColumns:
    """The columns of a training part.

    Attributes:
        scales: head -> mean and deviation of a number that is predicted; without several heads, that of ``""``. Classes
            and labels have none.
    """

    numbers: tuple[NumberColumn, ...]
    categories: tuple[CategoryColumn, ...]
    scales: Mapping[str, tuple[float, float]] = field(default_factory=dict)

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """The numbers, then the categories."""
        return (*(column.input for column in self.numbers), *(column.input for column in self.categories))


def fit_columns(instances: npt.NDArray[Any], targets: npt.NDArray[Any]) -> FittedColumns:
    """Measure the columns of a training part.

    Args:
        instances: structured array (rows,), as ``training.sources.table.Table`` gives it.
        targets: see ``Examples.labels``.
    """
    fields = instances.dtype.names or ()
    numbers = [name for name in fields if instances.dtype[name].kind == "f"]
    heads = {name: targets[name] for name in targets.dtype.names} if targets.dtype.names else {"": targets}
    return FittedColumns(
        numbers=tuple(_number(name, instances[name].astype(np.float64)) for name in numbers),
        categories=tuple(_category(name, instances[name]) for name in fields if name not in numbers),
        scales={
            name: _mean_and_deviation(values.astype(np.float64))
            for name, values in heads.items()
            if values.dtype.kind == "f"
        },
    )


def _number(name: str, values: npt.NDArray[np.float64]) -> NumberColumn:
    present = values[~np.isnan(values)]
    some = present if len(present) else np.zeros(1)
    mean, deviation = _mean_and_deviation(some)
    low, high = (float(value) for value in np.percentile(some, (1, 99)))
    missing = 1 - len(present) / len(values)
    return NumberColumn(name=name, mean=mean, deviation=deviation, low=low, high=high, missing=missing)


def _mean_and_deviation(values: npt.NDArray[np.float64]) -> tuple[float, float]:
    return float(values.mean()), float(values.std()) or 1.0


def _category(name: str, values: npt.NDArray[Any]) -> CategoryColumn:
    counts = Counter(value.decode() for value in values)
    kept = sorted(counts, key=lambda value: (-counts[value], value))[:MOST_CATEGORIES]
    return CategoryColumn(name=name, values=tuple(kept), shares=tuple(counts[value] / len(values) for value in kept))
