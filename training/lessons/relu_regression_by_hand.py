"""One ReLU unit and one linear unit predict a number: forward, three error measures, and one step of SGD, by hand.

    z = w1 x1 + w2 x2 + b    a = max(0, z)    y = v a + c    (y - t)² for x = (10, 20), t = 4

Further updates show the effect of the learning rate: at 0.001 the prediction rises to the target. At 0.01 it jumps
across it again and again. At 0.02 the third update moves z below 0, where the ReLU is dead and only c still learns.

Command: python -m training run relu-regression-by-hand
Result: prediction 0.321, MAE 3.679, MSE 13.535041, RMSE 3.679; after one update at 0.01 0.520772289, by hand and
    in Keras; after 20 updates 3.186 at rate 0.001, 2.015 at 0.01, 2.243 at 0.02
Date and hardware: 2026-11-21, two cores of an AMD EPYC
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Self

import numpy as np

from training.bounds import Bounded, Count
from training.measure import drawing
from training.measure.findings import Findings, below, close, recorded
from training.network.activations import Array
from training.recipe.lesson import Lesson, LessonContext

INPUTS = np.array([10.0, 20.0])
TARGET = 4.0
ROUNDING = 1e-12
"""The figures are short decimals, which float64 represents to about 1e-16."""


@dataclass(frozen=True, kw_only=True)
class Parameters:
    """Attributes: weights: w1, w2; bias: b; output_weight: v; output_bias: c."""

    weights: Array
    bias: float
    output_weight: float
    output_bias: float

    def net_input(self) -> float:
        """z of the hidden unit."""
        return float(self.weights @ INPUTS + self.bias)

    def prediction(self) -> float:
        """y = v max(0, z) + c."""
        return self.output_weight * max(0.0, self.net_input()) + self.output_bias

    def updated(self, learning_rate: float) -> Self:
        """One step of SGD on (y - t)², all five parameters together.

        ∂/∂y = 2 (y - t)    ∂/∂v = ∂/∂y · a    ∂/∂c = ∂/∂y
        ∂/∂z = ∂/∂y · v · [z > 0]              ∂/∂w = ∂/∂z · x    ∂/∂b = ∂/∂z
        """
        z = self.net_input()
        by_y = 2 * (self.prediction() - TARGET)
        by_z = by_y * self.output_weight if z > 0 else 0.0
        return type(self)(
            weights=self.weights - learning_rate * by_z * INPUTS,
            bias=self.bias - learning_rate * by_z,
            output_weight=self.output_weight - learning_rate * by_y * max(0.0, z),
            output_bias=self.output_bias - learning_rate * by_y,
        )

    def flat(self) -> Array:
        """(w1, w2, b, v, c)."""
        return np.array([*self.weights, self.bias, self.output_weight, self.output_bias])


START = Parameters(weights=np.array([0.01, 0.02]), bias=0.2, output_weight=0.03, output_bias=0.3)


@dataclass(frozen=True, kw_only=True)
class Regression(Bounded):
    """Settings.

    Attributes:
        learning_rate: of the single update.
        drawn_rates: learning rates of the further updates.
        updates: number of further updates.
    """

    learning_rate: float = 0.01
    drawn_rates: tuple[float, ...] = (0.001, 0.01, 0.02)
    updates: Count = 20

    def __call__(self, context: LessonContext) -> Findings:
        """Forward, errors, one update by hand and in Keras; then the drawn updates."""
        error = TARGET - START.prediction()
        by_hand = {"MAE": abs(error), "MSE": error**2, "RMSE": float(np.sqrt(error**2))}
        in_keras, updated_in_keras, prediction_in_keras = keras_figures(self.learning_rate)
        updated = START.updated(self.learning_rate)
        error_after = TARGET - updated.prediction()
        paths = {rate: list(islice(descent(rate), self.updates + 1)) for rate in self.drawn_rates}
        return Findings(
            figures=(
                close("z", START.net_input(), 0.7, within=ROUNDING),
                close("prediction", START.prediction(), 0.321, within=ROUNDING),
                close("error", error, 3.679, within=ROUNDING),
                close("MAE", by_hand["MAE"], 3.679, within=ROUNDING),
                close("MSE", by_hand["MSE"], 13.535041, within=ROUNDING),
                close("RMSE", by_hand["RMSE"], 3.679, within=ROUNDING),
                *(close(f"{name} in Keras", in_keras[name], by_hand[name], within=ROUNDING) for name in by_hand),
                *(
                    close(f"{name} after 1 update, in Keras", keras, hand, within=ROUNDING)
                    for name, keras, hand in zip(
                        ("w1", "w2", "b", "v", "c"), updated_in_keras, updated.flat().tolist(), strict=True
                    )
                ),
                close(
                    "prediction after 1 update, in Keras", prediction_in_keras, updated.prediction(), within=ROUNDING
                ),
                below("absolute error after 1 update", abs(error_after), abs(error), of="before it"),
                *(
                    recorded(f"prediction after {self.updates} updates at rate {rate:g}", path[-1].prediction())
                    for rate, path in paths.items()
                ),
            ),
            pictures={"Prediction": _draw(paths, context.directory / "prediction.png")},
            notes=(
                "With one instance MAE and RMSE are the same number.",
                *(sentence for rate, path in paths.items() for sentence in _dead(rate, path)),
            ),
        )


def descent(learning_rate: float) -> Iterator[Parameters]:
    """The parameters at the start and after each update, an infinite iterator."""
    parameters = START
    while True:
        yield parameters
        parameters = parameters.updated(learning_rate)


def keras_figures(learning_rate: float) -> tuple[dict[str, float], list[float], float]:
    """The same computation in tf_keras, float64.

    Returns:
        (measure -> value before the update, (w1, w2, b, v, c) after it, prediction after it).
    """
    import tensorflow as tf
    import tf_keras
    from tf_keras import layers

    model = tf_keras.Sequential(
        [
            layers.Input((2,), dtype="float64"),
            layers.Dense(1, "relu", dtype="float64"),
            layers.Dense(1, dtype="float64"),
        ]
    )
    hidden, output = model.layers
    hidden.set_weights([START.weights[:, None], np.array([START.bias])])
    output.set_weights([np.array([[START.output_weight]]), np.array([START.output_bias])])
    inputs, targets = tf.constant(INPUTS[None]), tf.constant([[TARGET]], tf.float64)
    root = tf_keras.metrics.RootMeanSquaredError(dtype="float64")
    root.update_state(targets, model(inputs))
    measures = {
        "MAE": float(tf_keras.losses.MeanAbsoluteError()(targets, model(inputs))),
        "MSE": float(tf_keras.losses.MeanSquaredError()(targets, model(inputs))),
        "RMSE": float(root.result()),
    }
    rate = tf.constant(learning_rate, tf.float64)  # SGD converts a plain number to float32, but not a schedule
    schedule = tf_keras.optimizers.schedules.ExponentialDecay(rate, 1, decay_rate=1)
    model.compile(tf_keras.optimizers.SGD(schedule), "mse")
    model.train_on_batch(inputs, targets)
    updated = np.concatenate([array.ravel() for array in model.get_weights()]).tolist()
    return measures, updated, float(model(inputs)[0, 0])


def _dead(rate: float, path: list[Parameters]) -> Iterator[str]:
    """A sentence if the hidden unit stops learning on the way: with z <= 0 no update changes z again."""
    for update, parameters in enumerate(path):
        if parameters.net_input() <= 0:
            yield (
                f"At rate {rate:g} the ReLU is dead from update {update} on: z = {parameters.net_input():.4g}, "
                "its derivative is 0, and only the output's bias still learns."
            )
            return


def _draw(paths: dict[float, list[Parameters]], path: Path) -> Path:
    longest = max((len(steps) for steps in paths.values()), default=1)
    curves = {
        f"learning rate {rate:g}": (range(len(steps)), [parameters.prediction() for parameters in steps])
        for rate, steps in paths.items()
    }
    return drawing.lines({**curves, "target": ((0, longest - 1), (TARGET, TARGET))}, path, x="updates", y="prediction")


RECIPE = Lesson(
    name="relu-regression-by-hand",
    description="One ReLU unit and one linear unit: forward, MAE, MSE, RMSE and one step of SGD.",
    study=Regression(),
)
