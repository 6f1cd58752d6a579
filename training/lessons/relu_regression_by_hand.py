"""One ReLU unit and one linear unit predict a number: forward, three error measures, and one step of SGD, by hand.

    z = w1 x1 + w2 x2 + b    a = max(0, z)    y = v a + c    (y - t)² for x = (10, 20), t = 4

The second row, x = (20, 30) with t = 5, gives measures over two rows, of which MAE and RMSE differ. At the course's
rate of 0.2 the update on the first row leaves an error six times as large, and the one on the second kills the ReLU.

Further updates on the first row show the effect of the learning rate: at 0.001 the prediction rises to the target. At
0.01 it jumps across it again and again. At 0.02 the third update moves z below 0, where the ReLU is dead and only c
still learns.

Command: python -m training run relu-regression-by-hand
Result: prediction 0.321, MAE 3.679, MSE 13.535041, RMSE 3.679; after one update at 0.01 0.520772289, by hand and
    in Keras; after 20 updates 3.186 at rate 0.001, 2.015 at 0.01, 2.243 at 0.02; two rows: MAE 4.1745, MSE 17.6719705,
    RMSE 4.20380429; at rate 0.2 the prediction becomes 25.9616, then z -11974 and -19449
Date and hardware: 2026-11-30, two cores of an AMD EPYC
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Self

import numpy as np

from training.bounds import Bounded, Count
from training.measure import drawing
from training.measure.findings import Finding, Findings, above, below, close, recorded
from training.network.activations import Array
from training.recipe.lesson import Lesson, LessonContext

INPUTS = np.array([[10.0, 20.0], [20.0, 30.0]])
TARGETS = np.array([4.0, 5.0])
FIRST, SECOND = 0, 1
TAUGHT_RATE = 0.2
"""Of the course."""
ROUNDING = 1e-12
"""The figures are short decimals, which float64 represents to about 1e-16."""


@dataclass(frozen=True, kw_only=True)
class Parameters:
    """Attributes: weights: w1, w2; bias: b; output_weight: v; output_bias: c."""

    weights: Array
    bias: float
    output_weight: float
    output_bias: float

    def net_input(self, row: int = FIRST) -> float:
        """z of the hidden unit for a row of ``INPUTS``."""
        return float(self.weights @ INPUTS[row] + self.bias)

    def prediction(self, row: int = FIRST) -> float:
        """y = v max(0, z) + c."""
        return self.output_weight * max(0.0, self.net_input(row)) + self.output_bias

    def updated(self, learning_rate: float, row: int = FIRST) -> Self:
        """One step of SGD on (y - t)² of one row, all five parameters together.

        ∂/∂y = 2 (y - t)    ∂/∂v = ∂/∂y · a    ∂/∂c = ∂/∂y
        ∂/∂z = ∂/∂y · v · [z > 0]              ∂/∂w = ∂/∂z · x    ∂/∂b = ∂/∂z
        """
        z = self.net_input(row)
        by_y = 2 * (self.prediction(row) - TARGETS[row])
        by_z = by_y * self.output_weight if z > 0 else 0.0
        return type(self)(
            weights=self.weights - learning_rate * by_z * INPUTS[row],
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
        error = TARGETS[FIRST] - START.prediction()
        by_hand = {"MAE": abs(error), "MSE": error**2, "RMSE": float(np.sqrt(error**2))}
        in_keras = keras_measures(rows=1)
        updated_in_keras, prediction_in_keras = keras_descent(self.learning_rate, rows=1)
        updated = START.updated(self.learning_rate)
        error_after = TARGETS[FIRST] - updated.prediction()
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
                *_both_rows(),
                *(
                    recorded(f"prediction after {self.updates} updates at rate {rate:g}", path[-1].prediction())
                    for rate, path in paths.items()
                ),
            ),
            pictures={"Prediction": _draw(paths, context.directory / "prediction.png")},
            notes=(
                "With one instance MAE and RMSE are the same number; with both rows they differ.",
                f"At the course's rate {TAUGHT_RATE:g} one update is much too large: the prediction jumps over the "
                "target, and the update on the second row moves z below 0 for both rows.",
                *(sentence for rate, path in paths.items() for sentence in _dead(rate, path)),
            ),
        )


def descent(learning_rate: float) -> Iterator[Parameters]:
    """The parameters at the start and after each update, an infinite iterator."""
    parameters = START
    while True:
        yield parameters
        parameters = parameters.updated(learning_rate)


def _both_rows() -> tuple[Finding, ...]:
    """The measures of both rows, and an epoch of SGD at the course's rate: the first row, then the second."""
    errors = TARGETS - [START.prediction(row) for row in (FIRST, SECOND)]
    measures = {"MAE": np.abs(errors).mean(), "MSE": (errors**2).mean(), "RMSE": np.sqrt((errors**2).mean())}
    in_keras = keras_measures(rows=2)
    once = START.updated(TAUGHT_RATE)
    twice = once.updated(TAUGHT_RATE, SECOND)
    parameters, _ = keras_descent(TAUGHT_RATE, rows=2)
    apart = float(np.abs(twice.flat() / parameters - 1).max())
    rate = f"at the course's rate {TAUGHT_RATE:g}"
    return (
        close("prediction of the second row", START.prediction(SECOND), 0.33, within=ROUNDING),
        close("MAE of both rows", measures["MAE"], 4.1745, within=ROUNDING),
        close("MSE of both rows", measures["MSE"], 17.6719705, within=ROUNDING),
        close("RMSE of both rows", measures["RMSE"], 17.6719705**0.5, within=ROUNDING),
        *(
            close(f"{name} of both rows, in Keras", in_keras[name], measures[name], within=ROUNDING)
            for name in measures
        ),
        recorded(f"prediction after 1 update {rate}", once.prediction()),
        above(
            f"absolute error after it {rate}", abs(TARGETS[FIRST] - once.prediction()), abs(errors[FIRST]), of="before"
        ),
        *(
            below(f"z of row {row + 1} after both {rate}", twice.net_input(row), 0, of="alive")
            for row in (FIRST, SECOND)
        ),
        below(f"parameters after both {rate}, in Keras", apart, ROUNDING, of="relative to by hand"),
    )


def keras_measures(*, rows: int) -> dict[str, float]:
    """MAE, MSE and RMSE of the first ``rows`` rows in tf_keras, float64, before any update."""
    import tensorflow as tf
    import tf_keras

    predictions, targets = _keras_model()(tf.constant(INPUTS[:rows])), tf.constant(TARGETS[:rows, None])
    root = tf_keras.metrics.RootMeanSquaredError(dtype="float64")
    root.update_state(targets, predictions)
    return {
        "MAE": float(tf_keras.losses.MeanAbsoluteError()(targets, predictions)),
        "MSE": float(tf_keras.losses.MeanSquaredError()(targets, predictions)),
        "RMSE": float(root.result()),
    }


def keras_descent(learning_rate: float, *, rows: int) -> tuple[list[float], float]:
    """SGD in tf_keras, float64: one update on each of the first ``rows`` rows.

    Returns:
        ((w1, w2, b, v, c) after them, prediction of the first row after them).
    """
    import tensorflow as tf
    import tf_keras

    model = _keras_model()
    rate = tf.constant(learning_rate, tf.float64)  # SGD converts a plain number to float32, but not a schedule
    schedule = tf_keras.optimizers.schedules.ExponentialDecay(rate, 1, decay_rate=1)
    model.compile(tf_keras.optimizers.SGD(schedule), "mse", run_eagerly=True)
    for row in range(rows):
        model.train_on_batch(INPUTS[row : row + 1], TARGETS[row : row + 1, None])
    updated = np.concatenate([array.ravel() for array in model.get_weights()]).tolist()
    return updated, float(model(tf.constant(INPUTS[:1]))[0, 0])


def _keras_model() -> Any:
    """The network with the weights of ``START``."""
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
    return model


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
    return drawing.lines(
        {**curves, "target": ((0, longest - 1), (TARGETS[FIRST], TARGETS[FIRST]))}, path, x="updates", y="prediction"
    )


RECIPE = Lesson(
    name="relu-regression-by-hand",
    description="One ReLU unit and one linear unit: forward, MAE, MSE, RMSE, and steps of SGD.",
    study=Regression(),
)
