"""The golden gate: a version serves only if it still gives the outputs that Keras gave."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from app.contract.golden import Golden
from app.errors import VersionRefused
from app.types import Array, Tensors


def replay(
    golden: Golden, run: Callable[[Tensors], Tensors], *, batch_size: int, provider: str, than: str = "Keras"
) -> float:
    """Replay every golden row and compare with the answer to it alone.

    Rows run in batches, with the padding they are stored with, so that the gate covers batching too.

    Args:
        golden: inputs and expected outputs.
        run: the backend that is to serve.
        batch_size: rows per call.
        provider: execution provider of the backend; the golden file states tolerances for each.
        than: the source of the answers, for messages.

    Returns:
        The largest absolute difference seen.

    Raises:
        VersionRefused: names the output, the row and the difference.
    """
    worst, tolerances = 0.0, golden.tolerances(provider)
    for start in range(0, golden.rows, batch_size):
        rows = slice(start, start + batch_size)
        outputs = run({name: np.ascontiguousarray(values[rows]) for name, values in golden.inputs.items()})
        for name, expected in golden.outputs.items():
            if name not in outputs or outputs[name].shape != expected[rows].shape:
                raise VersionRefused(f"golden output {name!r} is missing or has another shape than {than} gave")
            difference = _difference(outputs[name], expected[rows]).reshape(len(expected[rows]), -1).max(axis=1)
            row = int(difference.argmax())
            worst = max(worst, float(difference[row]))
            if difference[row] > tolerances[name]:
                raise VersionRefused(
                    f"golden row {start + row}: output {name!r} differs from {than} by {difference[row]:.3g}, "
                    f"tolerance {tolerances[name]:g}"
                )
    return worst


def _difference(values: Array, expected: Array) -> npt.NDArray[np.float64]:
    """Absolute difference of each element; infinity if only one of them is a number, or between different strings."""
    if expected.dtype.kind == "O":
        return np.asarray(np.where(values == expected, 0.0, np.inf))
    if expected.dtype.kind != "f" and values.dtype == expected.dtype:  # a float cannot represent all numbers of 64 bits
        return np.asarray(
            np.where(values == expected, 0.0, np.maximum(1.0, np.abs(values.astype(np.float64) - expected)))
        )
    return np.asarray(np.nan_to_num(np.abs(values.astype(np.float64) - expected), nan=np.inf))
