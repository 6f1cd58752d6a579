"""Detects growth: the slope of a series of samples, and the verdict on it. Measures nothing itself."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

MOST_POINTS = 1_000
"""More samples are averaged in groups, because the slopes of all pairs are computed."""
LEAST_SAMPLES = 5


@dataclass(frozen=True)
class Growth:
    """Growth of a figure with time, or with another quantity.

    Attributes:
        slope: median of the slopes of all pairs of samples (Theil and Sen): up to 29 % of the samples may be outliers.
        least_squares: the usual slope, for comparison: a single outlier changes it.
        first, last: medians of the first and the last tenth of the counted samples.
        samples: number of counted samples.
        limit: the allowed slope.
    """

    slope: float
    least_squares: float
    first: float
    last: float
    samples: int
    limit: float

    @property
    def leaks(self) -> bool:
        """Whether it grows faster than allowed."""
        return self.slope > self.limit


def measure_growth(at: Sequence[float], values: Sequence[float], *, after: float, limit: float) -> Growth:
    """The growth of ``values`` from ``after`` on.

    Args:
        at: time, or number of reloads or requests, of each sample; increasing.
        values: the samples.
        after: the warm-up: earlier samples do not count, because pools and caches fill up then.
        limit: the allowed slope, in units of ``values`` per unit of ``at``.

    Raises:
        ValueError: fewer than LEAST_SAMPLES samples count, which would prove nothing.

    Source: P. K. Sen, Estimates of the regression coefficient based on Kendall's tau, JASA 63 (1968).
    """
    x, y = np.asarray(at, np.float64), np.asarray(values, np.float64)
    if x.shape != y.shape:
        raise ValueError(f"{len(x)} places for {len(y)} samples")
    counts = x >= after
    x, y = x[counts], y[counts]
    if len(x) < LEAST_SAMPLES:
        raise ValueError(f"{len(x)} samples after the warm-up of {after:g}; at least {LEAST_SAMPLES} are needed")
    tenth = max(1, len(y) // 10)
    return Growth(
        slope=theil_sen(x, y),
        least_squares=float(np.polyfit(x - x[0], y, 1)[0]),
        first=float(np.median(y[:tenth])),
        last=float(np.median(y[-tenth:])),
        samples=len(x),
        limit=limit,
    )


def theil_sen(x: npt.NDArray[np.float64], y: npt.NDArray[np.float64]) -> float:
    """Median slope of all pairs of points.

    Args:
        x: float64 (points,), increasing, at least two different values.
        y: float64 (points,).
    """
    size = -(-len(x) // MOST_POINTS)
    if size > 1:
        whole = len(x) // size * size
        x, y = (each[:whole].reshape(-1, size).mean(axis=1) for each in (x, y))
    first, second = np.triu_indices(len(x), 1)
    apart = x[second] - x[first]
    differ = apart > 0
    return float(np.median((y[second] - y[first])[differ] / apart[differ]))
