"""The activation functions of the course's table in one plot, checked against Keras and against their derivatives.

Command: python -m training run activations
Result: at most 9e-16 from Keras in float64; derivatives at most 8e-11 from central differences; 5 s
Date and hardware: 2026-11-21, two cores of an AMD EPYC
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np

from training.bounds import AboveZero, Bounded, Bounds
from training.measure import drawing
from training.measure.findings import Finding, Findings, below, equal
from training.network.activations import ACTIVATIONS, LEAKY_SLOPE, Activation, Array, heaviside, leaky_relu, softmax
from training.recipe.lesson import Lesson, LessonContext

AT_ZERO = {
    "unit step": 0.5,
    "sign": 0.0,
    "linear": 0.0,
    "piece-wise linear": 0.5,
    "sigmoid": 0.5,
    "tanh": 0.0,
    "ReLU": 0.0,
    "softplus": 0.6931471805599453,  # ln 2
    "leaky ReLU": 0.0,
    "softmax": 0.5,
}
FAR = 1000.0
"""e^1000 does not fit a float64."""


@dataclass(frozen=True, kw_only=True)
class Table(Bounded):
    """Settings.

    Attributes:
        reach: the functions are drawn and compared from -reach to reach.
        points: number of points of the comparison.
        difference_step: half the distance of the two points of a central difference.
    """

    reach: AboveZero = 5.0
    points: Annotated[int, Bounds(at_least=2, at_most=10**7)] = 2001
    difference_step: AboveZero = 1e-5

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.difference_step > self.reach / 4:  # nearer than that to a break, there is no difference to compare
            raise ValueError(f"difference_step must be at most a quarter of reach, {self.reach / 4:g}")

    def __call__(self, context: LessonContext) -> Findings:
        """For each function: value at 0, difference from Keras, derivative against central differences."""
        x = np.linspace(-self.reach, self.reach, self.points)
        ends = np.array([-FAR, FAR])
        figures = [equal(f"{a.name} at 0", float(a.function(np.zeros(1))[0]), AT_ZERO[a.name]) for a in ACTIVATIONS]
        figures.append(equal("the perceptron's step at 0", float(heaviside(np.zeros(1))[0]), 0.0))
        finite = sum(bool(np.isfinite(activation.function(ends)).all()) for activation in ACTIVATIONS)
        figures.append(equal("finite at -1000 and 1000", finite, len(ACTIVATIONS)))
        figures += _compared_with_keras(np.concatenate([x, ends]))
        figures += [self._compared_with_differences(activation, x) for activation in ACTIVATIONS]
        return Findings(
            figures=tuple(figures),
            pictures={"Activation functions": _draw(x, context.directory / "activations.png")},
            notes=(
                "The step is 0 at 0 in the perceptron, which fires above its threshold, and ½ at 0 in the table.",
                "TensorFlow keeps the slope of a leaky ReLU as float32, also for float64 inputs: the comparison "
                f"rounds {LEAKY_SLOPE:g} likewise.",
                "The piece-wise linear function has slope 1; Keras' hard_sigmoid is another function, with slope 0.2.",
            ),
        )

    def _compared_with_differences(self, activation: Activation, x: Array) -> Finding:
        """(f(x+h) - f(x-h)) / 2h errs by h² f'''/6 and by rounding, 1e-16 f/h: both below 1e-9 at h = 1e-5."""
        h = self.difference_step
        for point in activation.breaks:
            x = x[np.abs(x - point) > h]
        quotient = (activation.function(x + h) - activation.function(x - h)) / (2 * h)
        difference = float(np.abs(quotient - activation.derivative(x)).max())
        return below(f"{activation.name}, derivative", difference, 1e-9, of="from a central difference")


def _compared_with_keras(x: Array) -> list[Finding]:
    """Largest difference from the functions of Keras and TensorFlow, all in float64."""
    import tensorflow as tf
    import tf_keras

    keras = tf_keras.activations
    ours: dict[str, Callable[[Array], Array]] = {a.name: a.function for a in ACTIVATIONS}
    ours["leaky ReLU"] = lambda x: leaky_relu(x, slope=float(np.float32(LEAKY_SLOPE)))
    theirs: dict[str, Callable[[Array], Any]] = {
        "sigmoid": keras.sigmoid,
        "tanh": keras.tanh,
        "ReLU": keras.relu,
        "softplus": keras.softplus,
        "leaky ReLU": lambda x: tf.nn.leaky_relu(x, alpha=LEAKY_SLOPE),
    }
    differences = {name: theirs[name](tf.constant(x)).numpy() - ours[name](x) for name in theirs}
    logits = np.stack([x, np.zeros_like(x), x[::-1]], axis=-1)
    differences["softmax"] = keras.softmax(tf.constant(logits)).numpy() - softmax(logits)
    return [
        below(f"{name}, difference", float(np.abs(difference).max()), 1e-12, of="from Keras in float64")
        for name, difference in differences.items()
    ]


def _draw(x: Array, path: Path) -> Path:
    """One pane per function: the function, its derivative, and a dot where the derivative does not exist."""
    figure = drawing.figure(width=13, height=5.6)
    for axes, activation in zip(figure.subplots(2, 5, sharex=True).flat, ACTIVATIONS, strict=True):
        breaks = np.array(activation.breaks)
        across = np.union1d(x, breaks)
        curve = np.where(np.isin(across, breaks), np.nan, activation.function(across))
        [line] = axes.plot(across, curve, label="function")
        axes.plot(breaks, activation.function(breaks), "o", color=line.get_color(), markersize=4)
        axes.plot(across, activation.derivative(across), "--", label="derivative")
        axes.set_title(f"{activation.name}\n{activation.formula}", fontsize=10)
        axes.set_ylim(min(-1.2, np.nanmin(curve)), max(1.2, np.nanmax(curve)))
        axes.grid(alpha=0.3)
    figure.axes[0].legend(loc="upper left", fontsize=8)
    return drawing.save(figure, path)


RECIPE = Lesson(
    name="activations",
    description="The ten activation functions of the course with their derivatives, in one plot.",
    study=Table(),
)
