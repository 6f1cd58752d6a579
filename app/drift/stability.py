"""The population stability index, and from which values on it is a drift."""

import numpy as np
import numpy.typing as npt

LEAST_ROWS = 300
"""Fewest sampled rows for a score. Without any drift the index of B bins is about (B - 1) (1/n + 1/m) for n served and
m training rows (Yurdakul, 2018): with 20 bins, 300 and 5000 rows 0.07, far below the alert's 0.25."""


def stability_index(expected: npt.NDArray[np.float64], expected_rows: int, counts: npt.NDArray[np.float64]) -> float:
    """The population stability index (PSI) of two distributions over the same bins; 0 if they are equal.

    It is the sum over the bins of (p - q) ln(p / q). By convention less than 0.1 is no shift, and more than 0.25 is a
    large one. Half a row is added to each bin of both, so that an empty bin does not make it infinite.

    Source: N. Siddiqi, Credit Risk Scorecards, 2006, chapter 10; B. Yurdakul, Statistical Properties of Population
    Stability Index, Western Michigan University, 2018.

    Args:
        expected: float64 (bins,), shares that sum to 1.
        expected_rows: rows that they were measured on.
        counts: float64 (bins,), served rows; at least one altogether.
    """
    bins = len(expected)
    q = (expected * expected_rows + 0.5) / (expected_rows + 0.5 * bins)
    p = (counts + 0.5) / (counts.sum() + 0.5 * bins)
    return float(np.sum((p - q) * np.log(p / q)))
