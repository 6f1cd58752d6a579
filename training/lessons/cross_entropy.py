"""Cross-entropy of one prediction, by hand: which logarithm, and how it differs from the squared error.

    H = -Σ t log p    for the target t = (1, 0) and the prediction p = (.57, .43): H = -log .57

Keras and TensorFlow use the natural logarithm, with which H = 0.5621. The course prints .23 for this example. No usual
logarithm gives that: base 2 gives 0.8110 and base 10 gives 0.2441.

Command: python -m training run cross-entropy
Result: 0.562118918 with the natural logarithm, by hand and in Keras; 0.244125144 base 10, 0.810966176 base 2; the
    gradient by the scores is (-.43, .43), by hand and by GradientTape; 7 s
Date and hardware: 2026-11-30, two cores of an AMD EPYC
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np

from training.bounds import Bounded, Bounds
from training.lessons.backprop_by_hand import as_printed
from training.measure import drawing
from training.measure.findings import Findings, above, below, close, recorded
from training.network.activations import Array, softmax
from training.recipe.lesson import Lesson, LessonContext

TAUGHT = 0.57
PRINTED = 0.23
"""What the course prints for the cross-entropy of .57 and .43."""
ROUNDING = 1e-12


@dataclass(frozen=True, kw_only=True)
class CrossEntropy(Bounded):
    """Settings; attributes: probability: predicted for the right class; the printed figures apply to 0.57 alone."""

    probability: Annotated[float, Bounds(above=0, below=1)] = TAUGHT

    def __call__(self, context: LessonContext) -> Findings:
        """By three logarithms, in Keras, against the printed figure; the gradient; the picture."""
        prediction = np.array([self.probability, 1 - self.probability])
        target = np.array([1.0, 0.0])
        natural, decimal, binary = (cross_entropy(target, prediction, base=base) for base in (np.e, 10.0, 2.0))
        in_keras, gradient = keras_figures(target, prediction)
        by_hand = prediction - target
        applies = self.probability == TAUGHT
        nearest = min(abs(value - PRINTED) for value in (natural, decimal, binary))
        return Findings(
            figures=(
                as_printed("natural logarithm", natural, "0.56", applies=applies),
                close("natural logarithm, in Keras", in_keras, natural, within=ROUNDING),
                as_printed("logarithm to base 10", decimal, "0.244", applies=applies),
                as_printed("logarithm to base 2", binary, "0.811", applies=applies),
                above("nearest of the three, distance from the printed .23", nearest, 0.01, of="rounding to two digits")
                if applies
                else recorded("nearest of the three, distance from the printed .23", nearest),
                recorded("probability with the cross-entropy .23", float(np.exp(-PRINTED))),
                recorded("squared error", float(((prediction - target) ** 2).mean())),
                recorded("gradient by the score of the right class", float(by_hand[0])),
                below(
                    "gradient, difference", float(np.abs(gradient - by_hand).max()), ROUNDING, of="from GradientTape"
                ),
            ),
            pictures={"Two losses of the right class": _draw(self.probability, context.directory / "losses.png")},
            notes=(
                f"The course prints .23. With the natural logarithm, which Keras uses, it is {natural:.4f}; base 10 "
                f"gives {decimal:.4f} and base 2 gives {binary:.4f}. 0.23 is right for p = {np.exp(-PRINTED):.2f}.",
                "With softmax, the gradient by the scores is p - t: no factor vanishes when the network is sure and "
                "wrong, as it does with the squared error.",
            ),
        )


def cross_entropy(target: Array, prediction: Array, *, base: float) -> float:
    """-Σ t log p, with 0 log 0 = 0.

    Args:
        target: probabilities, shape (classes,).
        prediction: the same shape; above 0 where the target is.
        base: of the logarithm, above 1.

    Source: Goodfellow, Bengio & Courville, Deep Learning (2016), section 3.13.
    """
    there = target > 0
    return float(-(target[there] * np.log(prediction[there])).sum() / np.log(base))


def keras_figures(target: Array, prediction: Array) -> tuple[float, Array]:
    """Keras's loss in float64, and its gradient by scores whose softmax is ``prediction``, shape (classes,)."""
    import tensorflow as tf
    import tf_keras

    scores = tf.constant(np.log(prediction))
    with tf.GradientTape() as tape:
        tape.watch(scores)
        loss = tf_keras.losses.CategoricalCrossentropy(from_logits=True)(target[None], scores[None])
    return float(loss), tape.gradient(loss, scores).numpy()


def _draw(probability: float, path: Path) -> Path:
    """Both losses, and the size of their gradients by the score, for scores of the right class from -6 to 6."""
    scores = np.linspace(-6, 6, 241)
    p = softmax(np.stack([scores, np.zeros_like(scores)], axis=-1))[:, 0]
    figure = drawing.figure(width=9.6)
    left, right = figure.subplots(1, 2)
    left.plot(p, -np.log(p), label="cross-entropy")
    left.plot(p, (1 - p) ** 2, label="squared error")
    left.plot(probability, -np.log(probability), "o", color="tab:blue")
    left.set(xlabel="probability of the right class", ylabel="loss")
    right.plot(p, 1 - p, label="cross-entropy")
    right.plot(p, 2 * (1 - p) ** 2 * p, label="squared error")
    right.set(xlabel="probability of the right class", ylabel="gradient by its score, without its sign")
    for axes in (left, right):
        axes.grid(alpha=0.3)
        axes.legend()
    return drawing.save(figure, path)


RECIPE = Lesson(
    name="cross-entropy",
    description="Cross-entropy of one prediction by hand, with three logarithms, in Keras, and its gradient.",
    study=CrossEntropy(),
)
