"""One neuron decides about cars: is a car with this price and this popularity bought?

    z = w1 price + w2 popularity + b    p = σ(z) = 1 / (1 + e^-z)

The course names the two inputs; the weights at the start and the eight cars are our own. Learning is gradient descent
on the cross-entropy of all cars at once, whose gradient is the mean of (p - t) x.

Command: python -m training run car-neuron
Result: z 0.7, p 0.668187772 for a car at 20,000 with popularity 0.8; after 2,000 steps all 8 cars right, weights -2.78
    and 17.3, bias -1.87; 9 s
Date and hardware: 2026-11-30, two cores of an AMD EPYC
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Self

import numpy as np

from training.bounds import AboveZero, Bounded, Count
from training.measure import drawing
from training.measure.findings import Findings, above, below, close, equal, recorded
from training.network.activations import Array, sigmoid
from training.recipe.lesson import Lesson, LessonContext

CARS = np.array([[1.2, 0.9], [2.0, 0.8], [3.5, 0.9], [3.0, 0.7], [2.5, 0.3], [4.5, 0.6], [1.5, 0.2], [5.5, 0.8]])
"""Price in 10,000, and popularity from 0 to 1."""
BOUGHT = np.array([1.0, 1.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0])
SECOND_CAR = 1
ROUNDING = 1e-12


@dataclass(frozen=True, kw_only=True)
class Neuron:
    """Attributes: weights: w1 of the price, w2 of the popularity, shape (2,); bias: b."""

    weights: Array
    bias: float

    def net_input(self, cars: Array) -> Array:
        """z of each car, shape (cars,)."""
        return np.asarray(cars @ self.weights + self.bias)

    def answers(self, cars: Array) -> Array:
        """p of each car, shape (cars,)."""
        return sigmoid(self.net_input(cars))

    def updated(self, learning_rate: float) -> Self:
        """One step of gradient descent on the mean cross-entropy of ``CARS``.

        ∂/∂z = p - t, since σ' = p (1 - p) cancels the denominator of the cross-entropy's derivative.
        """
        by_z = self.answers(CARS) - BOUGHT
        return replace(
            self,
            weights=self.weights - learning_rate * (by_z @ CARS) / len(CARS),
            bias=self.bias - learning_rate * float(by_z.mean()),
        )


START = Neuron(weights=np.array([-1.5, 4.0]), bias=0.5)


@dataclass(frozen=True, kw_only=True)
class Decision(Bounded):
    """Settings.

    Attributes:
        learning_rate: of the descent.
        steps: of the descent.
    """

    learning_rate: AboveZero = 0.5
    steps: Count = 2000

    def __call__(self, context: LessonContext) -> Findings:
        """One car by hand and in Keras, one update, and the descent."""
        dearer = CARS[SECOND_CAR] + np.array([1.0, 0.0])
        answer, updated_in_keras = keras_figures(self.learning_rate)
        once = START.updated(self.learning_rate)
        apart = np.abs(updated_in_keras - np.array([*once.weights, once.bias])).max()
        learnt = next(islice(descent(self.learning_rate), self.steps, None))
        before, after = (int(((neuron.answers(CARS) > 0.5) == BOUGHT).sum()) for neuron in (START, learnt))
        return Findings(
            figures=(
                close("z of the second car", START.net_input(CARS)[SECOND_CAR], 0.7, within=ROUNDING),
                close("p of the second car", START.answers(CARS)[SECOND_CAR], 1 / (1 + np.exp(-0.7)), within=ROUNDING),
                close("p of the second car, in Keras", answer, START.answers(CARS)[SECOND_CAR], within=ROUNDING),
                close(
                    "p of the second car, if it costs 10,000 more", float(START.answers(dearer)), 0.310026, within=1e-6
                ),
                below("w1, w2, b after 1 update, in Keras", float(apart), ROUNDING, of="from those by hand"),
                recorded("cars right at the start", before),
                equal(f"cars right after {self.steps:,} updates", after, len(CARS)),
                below("weight of the price", float(learnt.weights[0]), 0, of="neutral"),
                above("weight of the popularity", float(learnt.weights[1]), 0, of="neutral"),
                recorded("bias", learnt.bias),
            ),
            pictures={"Which cars are bought": _draw(learnt, context.directory / "cars.png")},
            notes=(
                "The neuron answers 0.5 on the line w1 price + w2 popularity + b = 0: one neuron divides the plane by "
                "a line, and no other form.",
            ),
        )


def descent(learning_rate: float) -> Iterator[Neuron]:
    """The neuron at the start and after each update, an infinite iterator."""
    neuron = START
    while True:
        yield neuron
        neuron = neuron.updated(learning_rate)


def keras_figures(learning_rate: float) -> tuple[float, Array]:
    """The same neuron in tf_keras, float64: (p of the second car, (w1, w2, b) after one update on all cars)."""
    import tensorflow as tf
    import tf_keras

    layer = tf_keras.layers.Dense(1, "sigmoid", dtype="float64")
    layer.build((None, 2))
    layer.set_weights([START.weights[:, None], np.array([START.bias])])
    with tf.GradientTape() as tape:
        answers = layer(tf.constant(CARS))
        loss = tf_keras.losses.BinaryCrossentropy()(BOUGHT[:, None], answers)
    gradients = tape.gradient(loss, layer.trainable_variables)
    updated = [
        (variable - learning_rate * gradient).numpy().ravel()
        for variable, gradient in zip(layer.trainable_variables, gradients, strict=True)
    ]
    return float(answers[SECOND_CAR, 0]), np.concatenate(updated)


def _draw(learnt: Neuron, path: Path) -> Path:
    """The cars, filled if they were bought, and the answers of the neuron before and after learning."""
    prices, popularities = np.linspace(0.5, 6, 111), np.linspace(0, 1, 101)
    points = np.stack(np.meshgrid(prices, popularities), axis=-1).reshape(-1, 2)
    figure = drawing.figure(width=9.6)
    for axes, neuron, title in zip(figure.subplots(1, 2), (START, learnt), ("at the start", "learnt"), strict=True):
        answers = neuron.answers(points).reshape(len(popularities), len(prices))
        shades = axes.contourf(prices, popularities, answers, levels=np.linspace(0, 1, 11), cmap="RdYlGn")
        axes.contour(prices, popularities, answers, levels=[0.5], colors="black")
        axes.scatter(*CARS.T, c=BOUGHT, cmap="binary", vmin=0, vmax=1, edgecolors="black", s=70, zorder=3)
        axes.set(title=title, xlabel="price in 10,000", ylabel="popularity")
    figure.colorbar(shades, label="p")
    return drawing.save(figure, path)


RECIPE = Lesson(
    name="car-neuron",
    description="One neuron with the inputs price and popularity: its answer, one update, and its line, by hand.",
    study=Decision(),
)
