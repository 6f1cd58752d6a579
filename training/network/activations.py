"""The activation functions of the course's table, in NumPy, with their derivatives."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

LEAKY_SLOPE = 0.01
"""Slope of the leaky ReLU below 0. Source: Maas, Hannun & Ng, Rectifier Nonlinearities Improve Neural Network
Acoustic Models (2013)."""


def heaviside(x: Array) -> Array:
    """The perceptron's step: 1 if x > 0, else 0; so 0 at 0.

    Source: Rosenblatt, The Perceptron (1958): a unit fires when its input exceeds the threshold.
    """
    return np.where(x > 0, 1.0, 0.0)


def unit_step(x: Array) -> Array:
    """The step of the activation table: 0 if x < 0, 1/2 at 0, 1 if x > 0; that is (1 + sign x) / 2."""
    return (1 + np.sign(x)) / 2


def sign(x: Array) -> Array:
    """-1 if x < 0, 0 at 0, 1 if x > 0."""
    return np.sign(x)


def linear(x: Array) -> Array:
    """The input x itself."""
    return np.asarray(x)


def piecewise_linear(x: Array) -> Array:
    """0 if x <= -1/2, x + 1/2 between, 1 if x >= 1/2."""
    return np.clip(x + 0.5, 0.0, 1.0)


def sigmoid(x: Array) -> Array:
    """1 / (1 + e^-x); computed with exponents that are never positive, so that nothing overflows."""
    return np.asarray(np.exp(np.minimum(x, 0)) / (1 + np.exp(-np.abs(x))))


def tanh(x: Array) -> Array:
    """(e^x - e^-x) / (e^x + e^-x) = 2 sigmoid(2x) - 1."""
    return np.tanh(x)


def relu(x: Array) -> Array:
    """max(0, x). Source: Nair & Hinton, Rectified Linear Units Improve Restricted Boltzmann Machines (2010)."""
    return np.maximum(x, 0.0)


def softplus(x: Array) -> Array:
    """ln(1 + e^x) = max(0, x) + ln(1 + e^-|x|), of which the right side cannot overflow."""
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


def leaky_relu(x: Array, slope: float = LEAKY_SLOPE) -> Array:
    """``slope`` times x if x < 0, else x."""
    return np.where(x < 0, slope * x, x)


def softmax(logits: Array) -> Array:
    """e^x_i / sum_j e^x_j over the last axis.

    Source: the maximum is subtracted so that exp cannot overflow, Goodfellow, Bengio & Courville, Deep Learning
        (2016), section 4.1.
    """
    shifted = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=-1, keepdims=True))


def softmax_beside_zero(x: Array) -> Array:
    """First component of softmax(x, 0): e^x / (e^x + 1), which is sigmoid(x)."""
    return softmax(np.stack([x, np.zeros_like(x)], axis=-1))[..., 0]


@dataclass(frozen=True, kw_only=True)
class Activation:
    """One row of the table.

    Attributes:
        formula: of the function, for people.
        function: element by element.
        slope: the derivative, correct wherever it exists.
        breaks: points without a derivative, in increasing order.
    """

    name: str
    formula: str
    function: Callable[[Array], Array]
    slope: Callable[[Array], Array]
    breaks: tuple[float, ...] = ()

    def derivative(self, x: Array) -> Array:
        """df/dx; NaN at a jump or a corner of the function."""
        return np.where(np.isin(x, self.breaks), np.nan, self.slope(x))


ACTIVATIONS = (
    Activation(name="unit step", formula="0, ½ at 0, 1", function=unit_step, slope=np.zeros_like, breaks=(0.0,)),
    Activation(name="sign", formula="-1, 0 at 0, 1", function=sign, slope=np.zeros_like, breaks=(0.0,)),
    Activation(name="linear", formula="x", function=linear, slope=np.ones_like),
    Activation(
        name="piece-wise linear",
        formula="0, x + ½, 1",
        function=piecewise_linear,
        slope=lambda x: np.where(np.abs(x) < 0.5, 1.0, 0.0),
        breaks=(-0.5, 0.5),
    ),
    Activation(
        name="sigmoid",
        formula="1 / (1 + e⁻ˣ)",
        function=sigmoid,
        slope=lambda x: sigmoid(x) * sigmoid(-x),  # σ(-x) = 1 - σ(x), without the cancellation
    ),
    Activation(
        name="tanh",
        formula="(eˣ - e⁻ˣ) / (eˣ + e⁻ˣ)",
        function=tanh,
        slope=lambda x: 1 - np.tanh(x) ** 2,
    ),
    Activation(name="ReLU", formula="max(0, x)", function=relu, slope=heaviside, breaks=(0.0,)),
    Activation(name="softplus", formula="ln(1 + eˣ)", function=softplus, slope=sigmoid),
    Activation(
        name="leaky ReLU",
        formula=f"max({LEAKY_SLOPE:g} x, x)",
        function=leaky_relu,
        slope=lambda x: np.where(x < 0, LEAKY_SLOPE, 1.0),
        breaks=(0.0,),
    ),
    Activation(
        name="softmax",
        formula="eˣ / (eˣ + e⁰)",
        function=softmax_beside_zero,
        slope=lambda x: softmax_beside_zero(x) * softmax_beside_zero(-x),  # p_1 (1 - p_1)
    ),
)
"""In the order of the course's table."""
