"""Golden rows of named arrays: drawn element by element from statistics, so that no row of the data is published."""

from typing import Any

import numpy as np
import numpy.typing as npt

from app.contract.golden import MINIMUM_ROWS
from app.contract.model_spec import ModelSpec
from training.data.array_inputs import FittedArray, FittedArrays
from training.publish.golden_table import rows_of_all_classes

POOL = 640

Array = npt.NDArray[Any]


def golden_arrays(spec: ModelSpec, model: Any, arrays: FittedArrays, rows: Array | None) -> dict[str, Array]:
    """Input name -> (64, *shape): rows that show as many classes of the first output that has some as possible.

    Args:
        spec: signature of the model.
        model: the trained tf_keras.Model.
        arrays: statistics of the training part.
        rows: structured array (rows,) of the data set, to choose from first; None draws all.
    """
    rng = np.random.default_rng(20)
    pool = {array.name: _drawn(array, rng) for array in arrays.arrays}
    if rows is not None and len(rows):
        kept = min(len(rows), POOL)
        own = {name: np.ascontiguousarray(rows[name][:kept]) for name in pool}
        missing = max(0, MINIMUM_ROWS - kept)
        pool = {name: np.concatenate([own[name], values[:missing]]) for name, values in pool.items()}
    return rows_of_all_classes(spec, model, pool)


def _drawn(array: FittedArray, rng: np.random.Generator) -> Array:
    """(POOL, *shape): normal around the mean of each element, within its range; whole numbers are uniform in theirs."""
    shape = (POOL, *array.mean.shape)
    if array.dtype == "int32":
        return rng.integers(array.low, array.high, shape, endpoint=True).astype(np.int32)
    values = np.clip(rng.normal(array.mean, array.deviation, shape), array.low, array.high)
    return (np.rint(values) if array.dtype == "uint8" else values).astype(array.dtype)
