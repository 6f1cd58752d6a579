"""Why weights must not start at zero, nor at any same number: hidden units that start equal stay equal.

    h = f(W x + b)    p = σ(v · h + c)    on the four rows of XOR, cross-entropy, gradient descent on all rows

Units with equal weights get equal gradients, so that they compute one feature for ever, however many they are. With
tanh and zeros h is 0 too, v gets no gradient, and W none through v: nothing is learnt at all. Random weights differ.

Command: python -m training run zero-initialisation
Result: after 2,000 steps loss 0.6931 from zeros (tanh, ReLU and sigmoid), 0.4814 from 0.5, each with 1 different unit
    of 4; 0.0024 from random weights, 4 different units, 4 rows right; 19 of 20 random starts learn all rows; 15 s
Date and hardware: 2026-11-30, two cores of an AMD EPYC
Source: Goodfellow, Bengio & Courville, Deep Learning (2016), section 8.4.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from training.bounds import AboveZero, Bounded, Count, Seed
from training.measure import drawing
from training.measure.findings import Finding, Findings, above, below, equal
from training.network.activations import ACTIVATIONS, Array, sigmoid
from training.recipe.lesson import Lesson, LessonContext

ROWS = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
XOR = np.array([0.0, 1.0, 1.0, 0.0])
UNITS = 4
SAME = 1e-9
"""Units whose weights differ by less are one unit; rounding makes a difference of 1e-16."""
BY_NAME = {activation.name: activation for activation in ACTIVATIONS}


@dataclass(frozen=True, kw_only=True)
class Weights:
    """Attributes: kernel: W, shape (2, units); biases: b, (units,); output: v, (units,); output_bias: c, ()."""

    kernel: Array
    biases: Array
    output: Array
    output_bias: Array

    def minus(self, rate: float, gradient: "Weights") -> "Weights":
        """One step of gradient descent."""
        return Weights(**{name: value - rate * vars(gradient)[name] for name, value in vars(self).items()})

    @property
    def different_units(self) -> int:
        """How many of the hidden units differ from all others before them, in any of their weights."""
        units = np.column_stack([self.kernel.T, self.biases, self.output])
        apart = np.abs(units[:, None] - units[None]).max(axis=-1)
        return sum(bool((apart[unit, :unit] > SAME).all()) for unit in range(len(units)))


@dataclass(frozen=True, kw_only=True)
class Start:
    """Attributes: activation: name of f; weights: at the start."""

    activation: str
    weights: Weights


def starting(kernel: Array, output: Array) -> Weights:
    """Weights with biases of zero, which are harmless."""
    return Weights(kernel=kernel, biases=np.zeros(kernel.shape[1]), output=output, output_bias=np.zeros(()))


def loss_and_gradient(weights: Weights, activation: str) -> tuple[float, Weights]:
    """The mean cross-entropy of the four rows, and its gradient by the chain rule."""
    f = BY_NAME[activation]
    net = ROWS @ weights.kernel + weights.biases
    h = f.function(net)
    p = sigmoid(h @ weights.output + weights.output_bias)
    loss = -np.log(np.where(XOR == 1, p, 1 - p)).mean()
    by_z = (p - XOR) / len(XOR)
    slope = np.nan_to_num(f.derivative(net))  # the ReLU has none at 0; Keras takes 0 there
    by_net = np.outer(by_z, weights.output) * slope
    gradient = Weights(
        kernel=ROWS.T @ by_net, biases=by_net.sum(axis=0), output=by_z @ h, output_bias=np.asarray(by_z.sum())
    )
    return float(loss), gradient


def right_rows(weights: Weights, activation: str) -> int:
    """How many rows of XOR get a p on the right side of 1/2."""
    h = BY_NAME[activation].function(ROWS @ weights.kernel + weights.biases)
    p = sigmoid(h @ weights.output + weights.output_bias)
    return int(np.where(XOR == 1, p > 0.5 + SAME, p < 0.5 - SAME).sum())


@dataclass(frozen=True, kw_only=True)
class Initialise(Bounded):
    """Settings.

    Attributes:
        learning_rate, steps: of the descent.
        constant: the number that all weights of one start have.
        seed: of the random weights.
        random_starts: number of random starts, with seeds from 0, of which those that learn all rows are counted.
    """

    learning_rate: AboveZero = 0.5
    steps: Count = 2000
    constant: AboveZero = 0.5
    seed: Seed = 1
    random_starts: Count = 20

    def __call__(self, context: LessonContext) -> Findings:
        """Descend from five starts; compare one gradient with Keras."""
        curves, figures = {}, []
        for name, start in self.starts().items():
            weights, losses = descend(start, rate=self.learning_rate, steps=self.steps)
            curves[name] = (range(len(losses)), losses.tolist())
            figures += self._found(name, start, weights, losses)
        learnt = sum(self._learns(seed) for seed in range(self.random_starts))
        apart = keras_apart(self.starts()[RANDOM].weights)
        return Findings(
            figures=(
                *figures,
                above(
                    f"of {self.random_starts} random starts, learn all rows", learnt, self.random_starts / 2, of="half"
                ),
                below("gradient from random weights, difference", apart, 1e-12, of="from Keras"),
            ),
            pictures={"Loss": drawing.lines(curves, context.directory / "loss.png", x="steps", y="loss", marker="")},
            notes=(
                "Biases may start at zero: the weights alone must differ.",
                "Random weights are no guarantee: with few units a descent may end in a local minimum.",
            ),
        )

    def starts(self) -> Mapping[str, Start]:
        """Name -> where a descent starts."""
        zeros = starting(np.zeros((2, UNITS)), np.zeros(UNITS))
        same = starting(np.full((2, UNITS), self.constant), np.full(UNITS, self.constant))
        return {
            "zeros, tanh": Start(activation="tanh", weights=zeros),
            "zeros, ReLU": Start(activation="ReLU", weights=zeros),
            "zeros, sigmoid": Start(activation="sigmoid", weights=zeros),
            f"{self.constant:g}, tanh": Start(activation="tanh", weights=same),
            RANDOM: _random(self.seed),
        }

    def _learns(self, seed: int) -> bool:
        weights, _ = descend(_random(seed), rate=self.learning_rate, steps=self.steps)
        return right_rows(weights, "tanh") == len(XOR)

    def _found(self, name: str, start: Start, weights: Weights, losses: Array) -> list[Finding]:
        right = right_rows(weights, start.activation)
        units = equal(f"{name}: different units", weights.different_units, UNITS if name == RANDOM else 1)
        if name == RANDOM:
            return [units, equal(f"{name}: rows right", right, 4), below(f"{name}: loss", losses[-1], 0.1, of="learnt")]
        return [
            units,
            below(f"{name}: rows right", right, 4, of="all"),
            above(f"{name}: loss", losses[-1], 0.3, of="learnt"),
        ]


RANDOM = "random, tanh"


def _random(seed: int) -> Start:
    rng = np.random.default_rng(seed)
    return Start(activation="tanh", weights=starting(rng.normal(size=(2, UNITS)), rng.normal(size=UNITS)))


def descend(start: Start, *, rate: float, steps: int) -> tuple[Weights, Array]:
    """Gradient descent: (weights after it, loss before each step and after the last, shape (steps + 1,))."""
    weights, losses = start.weights, []
    for _ in range(steps):
        loss, gradient = loss_and_gradient(weights, start.activation)
        losses.append(loss)
        weights = weights.minus(rate, gradient)
    return weights, np.array([*losses, loss_and_gradient(weights, start.activation)[0]])


def keras_apart(weights: Weights) -> float:
    """Largest difference of the gradient from that of tf_keras, tanh, float64."""
    import tensorflow as tf
    import tf_keras
    from tf_keras import layers

    model = tf_keras.Sequential(
        [
            layers.Input((2,), dtype="float64"),
            layers.Dense(UNITS, "tanh", dtype="float64"),
            layers.Dense(1, dtype="float64"),
        ]
    )
    model.set_weights([weights.kernel, weights.biases, weights.output[:, None], weights.output_bias[None]])
    with tf.GradientTape() as tape:
        loss = tf_keras.losses.BinaryCrossentropy(from_logits=True)(XOR[:, None], model(ROWS))
    in_keras = tape.gradient(loss, model.trainable_variables)
    by_hand = vars(loss_and_gradient(weights, "tanh")[1]).values()
    return max(float(np.abs(a.numpy().ravel() - b.ravel()).max()) for a, b in zip(in_keras, by_hand, strict=True))


RECIPE = Lesson(
    name="zero-initialisation",
    description="Weights that start at zero, or at any same number, learn one feature; random ones learn XOR.",
    study=Initialise(),
)
