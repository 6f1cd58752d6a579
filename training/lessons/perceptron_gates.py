"""Single-layer perceptrons learn AND, OR, NAND and NOR. They cannot learn XOR and XNOR; a hidden layer can.

A perceptron computes H(w1 x1 + w2 x2 + b), H the Heaviside step, 0 at 0, and learns by Rosenblatt's rule (1962):

    w += rate (target - output) x    b += rate (target - output)

one row after the other. Learning ends with an epoch without an error. If an epoch ends with weights with which it or
an earlier one started, everything in between repeats forever: that proves that the gate cannot be learnt. Weights are
fractions, so that the comparison is exact at every learning rate. For a gate that no line separates they stay bounded
and do return (perceptron cycling theorem: Minsky & Papert, Perceptrons, 1969; Block & Levin, 1970). For a gate that a
line separates the learning ends (convergence theorem: Novikoff, 1962).

Command: python -m training run perceptron-gates
Result: AND, OR, NAND, NOR learnt in 10, 4, 11, 5 updates; XOR and XNOR proved impossible after 3 epochs; with 4 hidden
    units all rows right after 20 and 18 updates; the model with all six gates gives 24 right answers of 24; 8 s
Date and hardware: 2026-11-21, two cores of an AMD EPYC
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any

import numpy as np

from app.contract.tensor_spec import TensorSpec
from training.bounds import AboveZero, Bounded, Bounds, Count, Seed
from training.measure import drawing
from training.measure.findings import Finding, Findings, Servable, equal, recorded
from training.network.activations import Array, heaviside
from training.recipe.lesson import Lesson, LessonContext

ROWS = ((0, 0), (0, 1), (1, 0), (1, 1))
GATES = {
    "AND": (0, 0, 0, 1),
    "OR": (0, 1, 1, 1),
    "NAND": (1, 1, 1, 0),
    "NOR": (1, 0, 0, 0),
    "XOR": (0, 1, 1, 0),
    "XNOR": (1, 0, 0, 1),
}
"""Gate -> its truth for each of ``ROWS``; also the order of the served output."""
BY_PERCEPTRON = ("AND", "OR", "NAND", "NOR")
BY_NETWORK = ("XOR", "XNOR")

Weights = tuple[Fraction, ...]
"""(w1, w2, b)."""


@dataclass(frozen=True, kw_only=True)
class Perceptron:
    """The end of the learning of one gate.

    Attributes:
        weights: at the end.
        epochs: number of epochs, including the one without an error.
        updates: number of weight updates in all of them.
        learnt: whether the last epoch had no error.
        returned_to: the epoch, from 1, that started with the weights at the end of the last one; None without one.
    """

    weights: Weights
    epochs: int
    updates: int
    learnt: bool = False
    returned_to: int | None = None

    @property
    def verdict(self) -> str:
        """The conclusion from the learning."""
        if self.learnt:
            return "learnt"
        return "cannot be learnt" if self.returned_to else "undecided"

    def integers(self) -> Array:
        """The weights times their common denominator: integers with the same decisions."""
        factor = math.lcm(*(weight.denominator for weight in self.weights))
        return np.array([float(weight * factor) for weight in self.weights])

    def decide(self, points: Array) -> Array:
        """0.0 or 1.0 for each of ``points``, shape (points, 2)."""
        w1, w2, b = self.integers()
        return heaviside(points @ np.array([w1, w2]) + b)


def learn(targets: tuple[int, ...], *, start: Weights, rate: Fraction, bias: bool, longest: int) -> Perceptron:
    """Rosenblatt's rule on ``ROWS`` until an epoch has no error, or the weights return, or ``longest`` epochs.

    The bias is the weight of a third input, which is always 1, or 0 if ``bias`` is off. ``rate`` must be above 0: with
    0 the weights of every gate would return immediately, and prove nothing.
    """
    inputs = np.array([(x1, x2, int(bias)) for x1, x2 in ROWS], dtype=object)
    weights = np.array(start, dtype=object)
    starts: dict[Weights, int] = {}
    updates = 0
    for epoch in range(1, longest + 1):
        starts[tuple(weights)] = epoch
        errors = 0
        for x, target in zip(inputs, targets, strict=True):
            error = target - int(heaviside(x @ weights))
            weights = weights + rate * error * x
            errors += abs(error)
        updates += errors
        ended = tuple(weights)
        if not errors:
            return Perceptron(weights=ended, epochs=epoch, updates=updates, learnt=True)
        if ended in starts:
            return Perceptron(weights=ended, epochs=epoch, updates=updates, returned_to=starts[ended])
    return Perceptron(weights=tuple(weights), epochs=longest, updates=updates)


@dataclass(frozen=True, kw_only=True)
class Gates(Bounded):
    """Settings.

    Attributes:
        learning_rate: of Rosenblatt's rule.
        initial_weights, initial_bias: values at the start.
        bias: whether there is one; without it only OR can be learnt.
        longest: most epochs of a perceptron.
        hidden_units, network_learning_rate, network_epochs, seed: of the networks with a hidden layer.
    """

    learning_rate: Annotated[float, Bounds(above=0, at_most=1e6)] = 1.0
    initial_weights: tuple[float, float] = (0.0, 0.0)
    initial_bias: float = 0.0
    bias: bool = True
    longest: Count = 1000
    hidden_units: Count = 4
    network_learning_rate: AboveZero = 0.1
    network_epochs: Count = 100
    seed: Seed = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not all(map(math.isfinite, (*self.initial_weights, self.initial_bias))):
            raise ValueError("initial_weights and initial_bias must be finite")

    def __call__(self, context: LessonContext) -> Findings:
        """Learn the six gates with one layer, XOR and XNOR with two, and combine all into one model."""
        perceptrons = {gate: self._perceptron(targets) for gate, targets in GATES.items()}
        networks, figures = {}, [f for gate in GATES for f in _of_perceptron(gate, perceptrons[gate])]
        for gate in BY_NETWORK:
            networks[gate], found = self._network(gate)
            figures += found
        served = gates_model([perceptrons[gate] for gate in BY_PERCEPTRON], [networks[gate] for gate in BY_NETWORK])
        right = served(np.array(ROWS, np.uint8)).numpy() == np.transpose(list(GATES.values()))
        figures.append(equal("answers right of the model with all six gates", int(right.sum()), right.size))
        return Findings(
            figures=tuple(figures),
            pictures={"Decision regions": _draw(perceptrons, networks, context.directory / "gates.png")},
            notes=tuple(_proof(gate, perceptrons[gate]) for gate in BY_NETWORK),
            servable=Servable(
                model=served,
                inputs=(TensorSpec(name="bits", dtype="uint8", shape=(2,), minimum=0, maximum=1),),
                outputs=(TensorSpec(name="gates", dtype="float32", shape=(len(GATES),), minimum=0, maximum=1),),
            ),
        )

    def _perceptron(self, targets: tuple[int, ...]) -> Perceptron:
        start = (*self.initial_weights, self.initial_bias if self.bias else 0.0)
        rate, *exact = (Fraction(str(number)) for number in (self.learning_rate, *start))  # 0.1 becomes exactly 1/10
        return learn(targets, start=tuple(exact), rate=rate, bias=self.bias, longest=self.longest)

    def _network(self, gate: str) -> tuple[Any, list[Finding]]:
        """A tf_keras network (batch, 2) -> (batch, 1) that has learnt the gate, and its figures."""
        import tf_keras
        from tf_keras import layers

        inputs, targets = np.array(ROWS, np.float32), np.array(GATES[gate], np.float32)[:, None]
        glorot = tf_keras.initializers.GlorotUniform
        hidden = layers.Dense(self.hidden_units, "tanh", kernel_initializer=glorot(seed=self.seed))
        output = layers.Dense(1, "sigmoid", kernel_initializer=glorot(seed=self.seed + 1))
        model = tf_keras.Sequential([layers.Input((2,)), hidden, output], name=gate.lower())
        model.compile(tf_keras.optimizers.Adam(self.network_learning_rate), "binary_crossentropy", metrics=["accuracy"])
        fitted = model.fit(inputs, targets, batch_size=len(ROWS), epochs=self.network_epochs, shuffle=False, verbose=0)
        wrong = [update for update, accuracy in enumerate(fitted.history["accuracy"]) if accuracy < 1]
        answers = model(inputs).numpy()
        return model, [
            equal(f"{gate}, hidden layer: rows right", int((np.rint(answers) == targets).sum()), len(ROWS)),
            recorded(f"{gate}, hidden layer: updates until all rows are right", max(wrong, default=-1) + 1),
            recorded(f"{gate}, hidden layer: largest error of an answer", float(np.abs(answers - targets).max())),
        ]


def gates_model(perceptrons: list[Perceptron], networks: list[Any]) -> Any:
    """One tf_keras model: uint8 ``bits`` (batch, 2) to float32 ``gates`` (batch, perceptrons + networks), 0 or 1."""
    import tensorflow as tf
    import tf_keras
    from tf_keras import layers

    bits = layers.Input((2,), dtype="uint8", name="bits")
    x = layers.Rescaling(1.0)(bits)
    layer = layers.Dense(len(perceptrons), name="perceptrons")
    scores = [layer(x), *(layers.Rescaling(1.0, offset=-0.5)(network(x)) for network in networks)]
    step = layers.Activation(lambda score: tf.cast(score > 0, tf.float32), name="gates")
    model = tf_keras.Model(bits, step(layers.Concatenate()(scores)))
    weights = np.transpose([perceptron.integers() for perceptron in perceptrons])
    layer.set_weights([weights[:2], weights[2]])
    return model


def _of_perceptron(gate: str, perceptron: Perceptron) -> list[Finding]:
    possible, title = gate in BY_PERCEPTRON, f"{gate}, one layer"
    right = int((perceptron.decide(np.array(ROWS)) == GATES[gate]).sum())
    return [
        equal(f"{title}: verdict", perceptron.verdict, "learnt" if possible else "cannot be learnt"),
        equal(f"{title}: rows right", right, len(ROWS)) if possible else recorded(f"{title}: rows right", right),
        recorded(f"{title}: epochs", perceptron.epochs),
        recorded(f"{title}: updates", perceptron.updates),
    ]


def _proof(gate: str, perceptron: Perceptron) -> str:
    if not perceptron.returned_to:
        return f"{gate}: with one layer {perceptron.verdict} after {perceptron.epochs} epochs."
    w1, w2, b = perceptron.weights
    return (
        f"{gate} cannot be learnt with one layer: epoch {perceptron.epochs} had errors and ended with the weights "
        f"w1 = {w1}, w2 = {w2}, b = {b}, with which epoch {perceptron.returned_to} began; so it repeats forever."
    )


def _draw(perceptrons: Mapping[str, Perceptron], networks: Mapping[str, Any], path: Path) -> Path:
    """The region in which each gate answers 1 (shaded), and the four rows: filled if the truth is 1."""
    ticks = np.linspace(-0.5, 1.5, 201)
    points = np.stack(np.meshgrid(ticks, ticks), axis=-1).reshape(-1, 2)
    figure = drawing.figure(width=9, height=6.4)
    for axes, (gate, truth) in zip(figure.subplots(2, 3, sharex=True, sharey=True).flat, GATES.items(), strict=True):
        if gate in networks:
            answers, how = networks[gate](points).numpy()[:, 0] > 0.5, "hidden layer"
        else:
            w1, w2, b = perceptrons[gate].integers()
            answers, how = perceptrons[gate].decide(points), f"{w1:g} x₁ {w2:+g} x₂ {b:+g} > 0"
        region = answers.astype(float).reshape(len(ticks), len(ticks))
        axes.contourf(ticks, ticks, region, levels=[-0.5, 0.5, 1.5], colors=["white", "tab:blue"], alpha=0.35)
        axes.scatter(*np.transpose(ROWS), c=truth, cmap="binary", vmin=0, vmax=1, edgecolors="black", s=70, zorder=3)
        axes.set_title(f"{gate}: {how}", fontsize=10)
        axes.set(xticks=(0, 1), yticks=(0, 1), xlabel="x₁", ylabel="x₂")
    return drawing.save(figure, path)


RECIPE = Lesson(
    name="perceptron-gates",
    description="Six logic gates: four that one layer learns, and XOR and XNOR, which need a hidden layer.",
    serves=True,
    study=Gates(),
)
