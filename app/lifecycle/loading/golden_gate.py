"""The golden gate: a version serves only if it still gives the outputs that Keras gave."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from app.contract.golden import Golden
from app.errors import VersionRefused

Tensors = dict[str, npt.NDArray[Any]]


def replay(golden: Golden, run: Callable[[Tensors], Tensors], *, batch_size: int, tolerance: float) -> float:
    """Replay every golden row and compare with what Keras answered for it alone.

    Rows run in batches, with the padding they are stored with, so that the gate covers batching too.

    Args:
        golden: inputs and expected outputs.
        run: the backend that is to serve.
        batch_size: rows per call.
        tolerance: largest absolute difference allowed.

    Returns:
        The largest absolute difference seen.

    Raises:
        VersionRefused: names the output, the row and the difference.
    """
    worst = 0.0
    for start in range(0, golden.rows, batch_size):
        rows = slice(start, start + batch_size)
        outputs = run({name: np.ascontiguousarray(values[rows]) for name, values in golden.inputs.items()})
        for name, expected in golden.outputs.items():
            if name not in outputs or outputs[name].shape != expected[rows].shape:
                raise VersionRefused(f"golden output {name!r} is missing or has another shape than Keras gave")
            difference = np.abs(outputs[name].astype(np.float64) - expected[rows])
            difference = np.nan_to_num(difference, nan=np.inf).reshape(len(difference), -1).max(axis=1)
            row = int(difference.argmax())
            worst = max(worst, float(difference[row]))
            if difference[row] > tolerance:
                raise VersionRefused(
                    f"golden row {start + row}: output {name!r} differs from Keras by {difference[row]:.3g}, "
                    f"tolerance {tolerance:g}"
                )
    return worst
