"""Accuracy of a classifier of images against the size of a change."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from training.datasets.splits import Examples
from training.measure import drawing
from training.robustness.changes import BATCH, Images, gradient_signs, on_floats, random_signs, shifted, with_noise

ADVERSARIAL, RANDOM, NOISE = "against the gradient", "random signs", "normal noise"
Curves = Mapping[str, Sequence[float]]
"""Kind of change -> accuracy at each size."""


def accuracy_curves(model: Any, examples: Examples, sizes: Sequence[int], *, seed: int = 0) -> Curves:
    """Measure the network on changed images; each kind of change starts from the same images.

    Args:
        model: tf_keras.Model that takes uint8 pixels and answers with probabilities.
        examples: uint8 images in memory, with their classes.
        sizes: of 255, from 0 to 255: the change of each pixel, and the standard deviation of the noise.
        seed: of the random changes.
    """
    images, labels = np.asarray(examples.instances), examples.labels
    signs = gradient_signs(on_floats(model), images, labels)
    rng = np.random.default_rng(seed)
    coins = random_signs(images.shape, rng)

    def right(changed: Images) -> float:
        answers = model.predict(changed, batch_size=BATCH, verbose=0)
        return float((answers.argmax(axis=1) == labels).mean())

    return {
        ADVERSARIAL: [right(shifted(images, signs, size)) for size in sizes],
        RANDOM: [right(shifted(images, coins, size)) for size in sizes],
        NOISE: [right(with_noise(images, size, rng)) for size in sizes],
    }


def draw_curves(curves: Curves, sizes: Sequence[int], path: Path) -> Path:
    """Accuracy against the size, a line for each kind of change."""
    lines = {kind: (list(sizes), list(accuracies)) for kind, accuracies in curves.items()}
    return drawing.lines(lines, path, x="change of a pixel, of 255", y="accuracy on validation images")
