"""The one number that a classifier's logits are divided by, so that its confidence agrees with its accuracy.

Source: Guo, Pleiss, Sun & Weinberger, On Calibration of Modern Neural Networks, ICML 2017, section 4.2. Imports no
TensorFlow.
"""

from typing import Any, Literal

import numpy as np
import numpy.typing as npt

LOWEST, HIGHEST = 0.05, 20.0

Array = npt.NDArray[Any]
Activation = Literal["softmax", "sigmoid"]


class NoTemperature(Exception):
    """The rows do not determine a temperature; the message is the reason, as part of a sentence."""


def best_temperature(logits: Array, labels: Array, *, activation: Activation) -> float:
    """The temperature with the smallest loss of ``activation(logits / temperature)``.

    With softmax that is the mean of -ln(probability of the right class). With sigmoid, whose classes have a probability
    each, -ln(1 - probability) of the other classes is added. Both are convex in 1 / temperature, so there is one
    minimum; it is searched on a logarithmic scale.

    Args:
        logits: float (rows, classes).
        labels: int (rows,), the right classes.
        activation: what makes probabilities of the logits.

    Raises:
        NoTemperature: no rows, one class only, numbers that are not finite, or no minimum between LOWEST and HIGHEST.
    """
    from scipy.optimize import minimize_scalar

    if not len(labels):
        raise NoTemperature("there is no validation part")
    if not np.isfinite(logits).all():
        rows = int((~np.isfinite(logits).all(axis=1)).sum())
        raise NoTemperature(f"the answers to {rows} of {len(labels)} validation rows contain NaN or infinity")
    if len(np.unique(labels)) < 2:
        raise NoTemperature("the validation part has only one class")
    wide = logits.astype(np.float64)

    def loss(logarithm: float) -> float:
        return _loss(wide / np.exp(logarithm), labels, activation)

    found = minimize_scalar(loss, bounds=(np.log(LOWEST), np.log(HIGHEST)), method="bounded", options={"xatol": 1e-6})
    if loss(np.log(LOWEST)) <= found.fun:
        raise NoTemperature("almost all validation rows are right, so they do not determine a temperature")
    if loss(np.log(HIGHEST)) <= found.fun:
        raise NoTemperature("the network has not learned, so the validation rows do not determine a temperature")
    return float(np.exp(found.x))


def _loss(logits: Array, labels: Array, activation: Activation) -> float:
    chosen = logits[np.arange(len(labels)), labels]
    if activation == "softmax":
        return float((np.logaddexp.reduce(logits, axis=1) - chosen).mean())
    return float((np.logaddexp(0, logits).sum(axis=1) - chosen).mean())
