"""Back-propagation through a 2-2-2 sigmoid network, by hand and in Keras, and the mistake of a well-known example.

    h1 = σ(w1 x1 + w2 x2 + b1)    o1 = σ(w5 h1 + w6 h2 + b2)
    h2 = σ(w3 x1 + w4 x2 + b1)    o2 = σ(w7 h1 + w8 h2 + b2)    E = ½ (t1 - o1)² + ½ (t2 - o2)²

Gradient descent changes all weights together, and so do the weights that the example prints after its first step. Its
errors, and its outputs after 10,000 steps, come from a descent that changes w5 to w8 first and then carries the error
back through the changed weights.

Command: python -m training run backprop-by-hand
Result: error 0.298371109, 0.291027774 after one step, 3.51019e-05 after 10,000 (o 0.0159136, 0.9840643);
    with updated weights reused 0.291027924 and 3.50848e-05 (o 0.0159122, 0.9840657); Keras is 1e-16 from by hand
Date and hardware: 2026-11-21, two cores of an AMD EPYC
Source: M. Mazur, A Step by Step Backpropagation Example (2015).
"""

from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np

from training.bounds import Bounded, Count
from training.measure import drawing
from training.measure.findings import Finding, Findings, below, close, recorded
from training.network.activations import Array, sigmoid
from training.recipe.lesson import Lesson, LessonContext

INPUTS = np.array([0.05, 0.10])
TARGETS = np.array([0.01, 0.99])
HIDDEN_KERNEL = np.array([[0.15, 0.25], [0.20, 0.30]])
"""((w1, w3), (w2, w4)): a row for each input, a column for each unit, as in Keras."""
OUTPUT_KERNEL = np.array([[0.40, 0.50], [0.45, 0.55]])
"""((w5, w7), (w6, w8))."""
HIDDEN_BIAS = 0.35
OUTPUT_BIAS = 0.60

PRINTED_RATE = 0.5
PRINTED_STEPS = 10_000
PRINTED_WEIGHTS = {
    "w1": "0.149780716",
    "w2": "0.19956143",
    "w3": "0.24975114",
    "w4": "0.29950229",
    "w5": "0.35891648",
    "w6": "0.408666186",
    "w7": "0.511301270",
    "w8": "0.561370121",
}


@dataclass(frozen=True, kw_only=True)
class Trace:
    """One descent.

    Attributes:
        errors: E before each step and after the last one, shape (steps + 1,).
        first_weights: w1 to w8 after one step.
        outputs: o1 and o2 after the last step, shape (2,).
    """

    errors: Array
    first_weights: Array
    outputs: Array


@dataclass(frozen=True, kw_only=True)
class Backpropagation(Bounded):
    """Settings.

    Attributes:
        learning_rate: of the descent; with a value other than 0.5 only the printed error at the start applies.
        steps: of the descent; with a value other than 10,000 the figures printed for the last step do not apply.
    """

    learning_rate: float = PRINTED_RATE
    steps: Count = PRINTED_STEPS

    def __call__(self, context: LessonContext) -> Findings:
        """Descend in Keras, by hand, and by hand with the mistake; compare with the printed figures."""
        keras = descend_in_keras(learning_rate=self.learning_rate, steps=self.steps)
        hand = descend_by_hand(learning_rate=self.learning_rate, steps=self.steps)
        slip = descend_by_hand(learning_rate=self.learning_rate, steps=self.steps, reuse_updated=True)
        once = self.learning_rate == PRINTED_RATE
        often = once and self.steps == PRINTED_STEPS
        weights = dict(zip(PRINTED_WEIGHTS, keras.first_weights, strict=True))
        last = f"after {self.steps:,} steps"
        figures = (
            as_printed("error at the start", keras.errors[0], "0.298371109"),
            *(as_printed(f"{w} after 1 step", weights[w], PRINTED_WEIGHTS[w], applies=once) for w in weights),
            as_printed("error after 1 step", keras.errors[1], "0.291027774", applies=once),
            as_printed(f"error {last}", keras.errors[-1], "3.51019e-05", applies=often),
            as_printed(f"o1 {last}", keras.outputs[0], "0.0159136", applies=often),
            as_printed(f"o2 {last}", keras.outputs[1], "0.9840643", applies=often),
            below("Keras, all errors", _apart(keras.errors, hand.errors), 1e-12, of="from those by hand"),
            below("Keras, w1 to w8", _apart(keras.first_weights, hand.first_weights), 1e-12, of="from those by hand"),
            as_printed("error after 1 step, updated weights reused", slip.errors[1], "0.291027924", applies=once),
            as_printed(f"error {last}, updated weights reused", slip.errors[-1], "3.5085e-05", applies=often),
            as_printed(f"o1 {last}, updated weights reused", slip.outputs[0], "0.015912", applies=often),
            as_printed(f"o2 {last}, updated weights reused", slip.outputs[1], "0.984066", applies=often),
        )
        return Findings(
            figures=figures,
            pictures={"Error": _draw(keras, slip, context.directory / "error.png")},
            notes=(
                "The course prints the error 0.291027924 after one step, and the outputs 0.015912 (misprinted as "
                "0.159) and 0.984066 after 10,000. They come from carrying the error back to the hidden layer through "
                "output weights that have already been updated.",
                "Gradient descent takes the whole gradient at one point, so that all weights change at once; Keras "
                f"does so. {last.capitalize()} the error is {keras.errors[-1]:.6g}.",
                "The published walk-through prints the error 0.0000351085 after 10,000 steps, which neither gives: "
                "its own outputs, 0.015912196 and 0.984065734, give 0.000035085.",
            ),
        )


def as_printed(name: str, value: float, printed: str, *, applies: bool = True) -> Finding:
    """A figure that must round to the digits ``printed``; only recorded if they do not apply."""
    value = float(value)
    if not applies:
        return recorded(name, value)
    last_digit = Decimal(printed).as_tuple().exponent
    return close(name, value, float(printed), within=0.5 * 10.0 ** int(last_digit))


def descend_by_hand(*, learning_rate: float, steps: int, reuse_updated: bool = False) -> Trace:
    """Gradient descent by the chain rule, biases kept.

    With net_o = Σ w h + b2, net_h = Σ w x + b1 and σ' = σ (1 - σ):

        δ_o = ∂E/∂net_o = (o - t) o (1 - o)                         ∂E/∂w(h→o) = h δ_o
        δ_h = ∂E/∂net_h = (Σ_o w(h→o) δ_o) h (1 - h)                ∂E/∂w(x→h) = x δ_h

    Args:
        learning_rate: factor of the gradient.
        steps: 1 or more.
        reuse_updated: the mistake: take w(h→o) of δ_h after its update.

    Source: Rumelhart, Hinton & Williams, Learning representations by back-propagating errors (1986).
    """
    hidden, output = HIDDEN_KERNEL, OUTPUT_KERNEL
    errors, first_weights = [], np.empty(0)
    for step in range(steps + 1):
        h = sigmoid(INPUTS @ hidden + HIDDEN_BIAS)
        o = sigmoid(h @ output + OUTPUT_BIAS)
        errors.append(float(((TARGETS - o) ** 2).sum() / 2))
        if step == 1:
            first_weights = _numbered(hidden, output)
        if step == steps:
            break
        output_delta = (o - TARGETS) * o * (1 - o)
        updated_output = output - learning_rate * np.outer(h, output_delta)
        carried_back = updated_output if reuse_updated else output
        hidden_delta = (carried_back @ output_delta) * h * (1 - h)
        hidden = hidden - learning_rate * np.outer(INPUTS, hidden_delta)
        output = updated_output
    return Trace(errors=np.array(errors), first_weights=first_weights, outputs=o)


def descend_in_keras(*, learning_rate: float, steps: int) -> Trace:
    """The same descent in tf_keras with float64: gradient of the two kernels only, plain SGD."""
    import tensorflow as tf
    import tf_keras
    from tf_keras import layers

    model = tf_keras.Sequential(
        [
            layers.Input((2,), dtype="float64"),
            layers.Dense(2, "sigmoid", dtype="float64"),
            layers.Dense(2, "sigmoid", dtype="float64"),
        ]
    )
    first, second = model.layers
    first.set_weights([HIDDEN_KERNEL, np.full(2, HIDDEN_BIAS)])
    second.set_weights([OUTPUT_KERNEL, np.full(2, OUTPUT_BIAS)])
    kernels = [first.kernel, second.kernel]
    rate = tf.constant(learning_rate, tf.float64)  # SGD converts a plain number to float32, but not a schedule
    optimizer = tf_keras.optimizers.SGD(tf_keras.optimizers.schedules.ExponentialDecay(rate, 1, decay_rate=1))
    optimizer.build(kernels)
    inputs, targets = tf.constant(INPUTS[None]), tf.constant(TARGETS[None])

    def descend(count: Any) -> Any:
        errors = tf.TensorArray(tf.float64, count, element_shape=())
        for step in tf.range(count):
            with tf.GradientTape() as tape:
                error = tf.reduce_sum(tf.square(targets - model(inputs))) / 2
            errors = errors.write(step, error)
            optimizer.apply_gradients(zip(tape.gradient(error, kernels), kernels, strict=True))
        return errors.stack()

    traced = tf.function(descend)
    before = traced(tf.constant(1)).numpy()
    first_weights = _numbered(*(kernel.numpy() for kernel in kernels))
    on_the_way = traced(tf.constant(steps - 1)).numpy()
    outputs = model(inputs).numpy()[0]
    after = ((TARGETS - outputs) ** 2).sum() / 2
    return Trace(errors=np.array([*before, *on_the_way, after]), first_weights=first_weights, outputs=outputs)


def _numbered(hidden: Array, output: Array) -> Array:
    """w1 to w8 of the two kernels."""
    return np.concatenate([hidden.T.ravel(), output.T.ravel()])


def _apart(some: Array, others: Array) -> float:
    """Largest difference."""
    return float(np.abs(some - others).max())


def _draw(right: Trace, slip: Trace, path: Path) -> Path:
    """All errors from the first step on, since 0 has no logarithm."""
    steps = range(1, len(right.errors))
    curves = {
        "all weights at once": right.errors[1:],
        "updated output weights reused": slip.errors[1:],
        "their difference": np.abs(right.errors - slip.errors)[1:],
    }
    named = {label: (steps, curve.tolist()) for label, curve in curves.items()}
    return drawing.lines(named, path, x="steps", y="total error", logarithmic="xy", marker="")


RECIPE = Lesson(
    name="backprop-by-hand",
    description="Back-propagation through a 2-2-2 sigmoid network, figure by figure.",
    study=Backpropagation(),
)
