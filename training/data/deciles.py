"""Histograms of numbers with an unknown range, for baseline.json. No TensorFlow."""

from typing import Any

import numpy as np
import numpy.typing as npt


def decile_histogram(values: npt.NDArray[Any]) -> dict[str, list[float]]:
    """A histogram whose bins have about a tenth of the values each, in the form of ``numpy.histogram``.

    Values that occur often make bins of their own, and there are fewer bins.

    Args:
        values: numbers (rows,), at least one, all finite.

    Returns:
        ``edges``, increasing, and ``shares``, one fewer, that sum to 1.
    """
    values = np.asarray(values, np.float64)
    edges = np.unique(np.quantile(values, np.linspace(0, 1, 11)))
    if len(edges) == 1:
        edges = np.array([edges[0], np.nextafter(edges[0], np.inf)])
    counts, _ = np.histogram(values, bins=edges)
    return {"edges": edges.tolist(), "shares": (counts / len(values)).tolist()}
