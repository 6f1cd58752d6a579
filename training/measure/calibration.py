"""How well confidence agrees with accuracy: the expected calibration error with its interval; imports no TensorFlow."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

CALIBRATION_BINS = 15
RESAMPLES = 500
INTERVAL = (2.5, 97.5)  # percentiles: 95 %
SEED = 0

Array = npt.NDArray[Any]
Bins = tuple[tuple[float, float, int], ...]


@dataclass(frozen=True, kw_only=True)
class CalibrationError:
    """The expected calibration error of some predictions.

    Attributes:
        value: corrected for its bias; 0 or more.
        interval: 95 % interval of the value.
        bins: (mean confidence, accuracy, rows) for each bin, by rising confidence.
    """

    value: float
    interval: tuple[float, float]
    bins: Bins


def calibration_error(confidence: Array, correct: Array, *, seed: int = SEED) -> CalibrationError:
    """Mean of |accuracy - confidence| over bins with equally many rows each, weighted by their rows.

    A bin of few rows is off by chance, and an absolute value adds up what is off, so the plain figure is too large even
    for a perfect model. The bootstrap estimates how much: rows are drawn again with replacement RESAMPLES times, bins
    are made again, and the mean of their figures is above the plain figure by about what that is above the truth:

        corrected = 2 plain - mean(resampled)
        interval  = 2 plain - 97.5th percentile(resampled) to 2 plain - 2.5th percentile(resampled)

    both cut off at 0. About two fifths of the bias of a perfect model are removed, because the bins that are drawn from
    are themselves off by chance. The figure is still too large rather than too small: that of a perfect model with ten
    classes and 5,000 rows can be 0.018, with an interval that does not include 0.

    Args:
        confidence: (rows,), from 0 to 1, the probability of the predicted class; at least 1 row.
        correct: bool (rows,), whether it was the right one.
        seed: of numpy's default generator.

    Sources:
        Bins of equal mass: Nixon et al., Measuring Calibration in Deep Learning, arXiv:1904.01685.
        Error: Guo, Pleiss, Sun & Weinberger, On Calibration of Modern Neural Networks, ICML 2017, section 2.
        Correction and interval: Efron & Tibshirani, An Introduction to the Bootstrap, 1993, sections 10.4 and 13.3;
            for calibration errors, Kumar, Liang & Ma, Verified Uncertainty Calibration, NeurIPS 2019.
    """
    order = np.argsort(confidence, kind="stable")
    sure, right = confidence[order].astype(np.float64), correct[order].astype(np.float64)
    bins = _bins(sure, right)
    plain = _error(bins, len(sure))
    generator = np.random.default_rng(seed)
    resampled = np.empty(RESAMPLES)
    for number in range(RESAMPLES):
        rows = np.sort(generator.integers(0, len(sure), len(sure), dtype=np.int32))  # so that confidence rises again
        resampled[number] = _error(_bins(sure[rows], right[rows]), len(sure))
    low, high = np.percentile(resampled, INTERVAL)
    return CalibrationError(
        value=max(0.0, 2 * plain - float(resampled.mean())),
        interval=(max(0.0, 2 * plain - float(high)), max(0.0, 2 * plain - float(low))),
        bins=tuple((float(mean), float(accuracy), int(rows)) for mean, accuracy, rows in bins.T),
    )


def _bins(sure: Array, right: Array) -> Array:
    """(3, bins): mean confidence, accuracy and rows, of rows in the order of their confidence.

    Rows of the same confidence are in the same bin, whatever their order.
    """
    ranks = np.arange(CALIBRATION_BINS) * len(sure) // CALIBRATION_BINS
    starts = np.unique(np.searchsorted(sure, sure[ranks], side="left"))
    rows = np.diff(starts, append=len(sure))
    return np.stack([np.add.reduceat(sure, starts) / rows, np.add.reduceat(right, starts) / rows, rows])


def _error(bins: Array, rows: int) -> float:
    return float((np.abs(bins[1] - bins[0]) * bins[2]).sum() / rows)
