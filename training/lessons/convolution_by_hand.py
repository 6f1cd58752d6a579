"""A convolution of 12 filters and a pooling by hand: a picture of 32x32x3 becomes 32x32x12, and then 16x16x12.

    out[y, x, f] = b[f] + Σ_dy Σ_dx Σ_c in[y + dy, x + dx, c] w[dy, dx, c, f]

A side of the result has (size + 2 padding - filter) / stride + 1 numbers, rounded down. Max pooling takes the largest
of each 2x2 numbers. A shift of the picture shifts the result of both.

Command: python -m training run convolution-by-hand
Result: 336 weights where a dense layer has 37,761,024; all results within 1.3e-15 of Keras; 12 s
Date and hardware: 2026-11-30, two cores of an AMD EPYC
Source: Dumoulin & Visin, A guide to convolution arithmetic for deep learning, arXiv:1603.07285.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from training.bounds import Bounded, Seed
from training.measure import drawing
from training.measure.findings import Findings, below, equal
from training.network.activations import Array
from training.recipe.lesson import Lesson, LessonContext

EDGE = 32
KERNEL = 3
POOL = 2
GREY = np.full(3, 1 / 3)
FILTERS: Mapping[str, tuple[Any, Any]] = {
    "as it is": ([[0, 0, 0], [0, 1, 0], [0, 0, 0]], GREY),
    "blurred": (np.full((3, 3), 1 / 9), GREY),
    "sharpened": ([[0, -1, 0], [-1, 5, -1], [0, -1, 0]], GREY),
    "edges from left to right": ([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]], GREY),
    "edges from top to bottom": ([[-1, -2, -1], [0, 0, 0], [1, 2, 1]], GREY),
    "edges of all directions": ([[-1, -1, -1], [-1, 8, -1], [-1, -1, -1]], GREY),
    "falling diagonals": ([[2, -1, -1], [-1, 2, -1], [-1, -1, 2]], GREY),
    "rising diagonals": ([[-1, -1, 2], [-1, 2, -1], [2, -1, -1]], GREY),
    "single points": ([[0, -1, 0], [-1, 4, -1], [0, -1, 0]], GREY),
    "red against green": ([[0, 0, 0], [0, 1, 0], [0, 0, 0]], [1, -1, 0]),
    "green against blue": ([[0, 0, 0], [0, 1, 0], [0, 0, 0]], [0, 1, -1]),
    "blue against red": ([[0, 0, 0], [0, 1, 0], [0, 0, 0]], [-1, 0, 1]),
}
"""Name -> (weights of the nine neighbours, weights of the three colours); a filter is their product."""
DRAWN = (
    "blurred",
    "edges from left to right",
    "edges from top to bottom",
    "edges of all directions",
    "red against green",
)
ROUNDING = 1e-12


@dataclass(frozen=True, kw_only=True)
class Convolution(Bounded):
    """Settings; attributes: seed: of the noise in the picture."""

    seed: Seed = 0

    def __call__(self, context: LessonContext) -> Findings:
        """Convolve and pool; compare with Keras, with a dense layer, and with a shifted picture."""
        picture = draw_picture(self.seed)
        kernel = np.stack(
            [np.multiply.outer(np.array(near, float), colours) for near, colours in FILTERS.values()], axis=-1
        )
        bias = np.linspace(-0.1, 0.1, len(FILTERS))
        maps = convolve(picture, kernel, bias, padding=1)
        pooled = pool(maps)
        dense = picture.size * maps.size + maps.size
        shifted = pool(convolve(np.roll(picture, (POOL, POOL), axis=(0, 1)), kernel, bias, padding=1))
        inside = slice(2, -2)  # away from the edge, where the shifted picture has other neighbours
        moved = np.roll(pooled, (1, 1), axis=(0, 1))[inside, inside] - shifted[inside, inside]
        in_keras = keras_results(picture, kernel, bias)
        by_hand = {
            "convolution, same size": maps,
            "convolution, no padding": convolve(picture, kernel, bias, padding=0),
            "convolution, stride 2, no padding": convolve(picture, kernel, bias, padding=0, stride=2),
            "max pooling": pooled,
            "mean pooling": pool(maps, mean=True),
        }
        return Findings(
            figures=(
                equal("picture", str(picture.shape), "(32, 32, 3)"),
                equal("convolved", str(maps.shape), "(32, 32, 12)"),
                equal("pooled", str(pooled.shape), "(16, 16, 12)"),
                equal("weights of the convolution", kernel.size + bias.size, (KERNEL * KERNEL * 3 + 1) * 12),
                equal("weights of a dense layer in its place", dense, 37_761_024),
                equal("multiplications", maps.size * KERNEL * KERNEL * 3, 331_776),
                *(equal(f"{name}: shape", str(in_keras[name].shape), str(by_hand[name].shape)) for name in by_hand),
                *(
                    below(name, float(np.abs(in_keras[name] - by_hand[name]).max()), ROUNDING, of="from Keras")
                    for name in by_hand
                ),
                below("picture shifted by 2, result by 1", float(np.abs(moved).max()), ROUNDING, of="rounding"),
            ),
            pictures={"Filters and pooling": _draw(picture, maps, context.directory / "filters.png")},
        )


def draw_picture(seed: int) -> Array:
    """A red disc, a green bar and a blue slope with a little noise, shape (32, 32, 3), values from 0 to 1."""
    y, x = np.mgrid[:EDGE, :EDGE] / (EDGE - 1)
    disc = ((x - 0.35) ** 2 + (y - 0.4) ** 2 < 0.06).astype(float)
    bar = ((x > 0.6) & (x < 0.75) & (y > 0.2)).astype(float)
    noise = np.random.default_rng(seed).uniform(0, 0.05, (EDGE, EDGE, 3))
    return 0.9 * np.stack([disc, bar, (x + y) / 2], axis=-1) + noise


def convolve(picture: Array, kernel: Array, bias: Array, *, padding: int, stride: int = 1) -> Array:
    """The convolution of deep learning: the filter is not mirrored.

    Args:
        picture: shape (height, width, channels).
        kernel: shape (size, size, channels, filters).
        bias: shape (filters,).
        padding: rows and columns of zeros on each side.
        stride: step between two windows.

    Returns:
        Shape ((height + 2 padding - size) // stride + 1, the same for the width, filters).
    """
    padded = np.pad(picture, ((padding, padding), (padding, padding), (0, 0)))
    size = kernel.shape[0]
    height, width = (side - size + 1 for side in padded.shape[:2])
    windows = (
        (dy, dx, padded[dy : dy + height : stride, dx : dx + width : stride]) for dy, dx in np.ndindex(size, size)
    )
    return np.asarray(bias + sum(window @ kernel[dy, dx] for dy, dx, window in windows))


def pool(maps: Array, *, mean: bool = False) -> Array:
    """The largest, or the mean, of each 2x2 numbers: (height, width, filters) -> (height / 2, width / 2, filters)."""
    height, width, filters = maps.shape
    blocks = maps.reshape(height // POOL, POOL, width // POOL, POOL, filters)
    return np.asarray(blocks.mean(axis=(1, 3)) if mean else blocks.max(axis=(1, 3)))


def keras_results(picture: Array, kernel: Array, bias: Array) -> Mapping[str, Array]:
    """The same by layers of tf_keras, float64."""
    from tf_keras import layers

    def convolved(padding: str, strides: int = 1) -> Any:
        layer = layers.Conv2D(len(bias), KERNEL, strides=strides, padding=padding, dtype="float64")
        layer.build((None, *picture.shape))
        layer.set_weights([kernel, bias])
        return layer(picture[None])

    same = convolved("same")
    results = {
        "convolution, same size": same,
        "convolution, no padding": convolved("valid"),
        "convolution, stride 2, no padding": convolved("valid", strides=2),
        "max pooling": layers.MaxPooling2D(POOL, dtype="float64")(same),
        "mean pooling": layers.AveragePooling2D(POOL, dtype="float64")(same),
    }
    return {name: result.numpy()[0] for name, result in results.items()}


def _draw(picture: Array, maps: Array, path: Path) -> Path:
    """The picture, the result of some filters, and below them each after max pooling."""
    names = list(FILTERS)
    figure = drawing.figure(width=13, height=4.8)
    above, under = figure.subplots(2, 1 + len(DRAWN))
    above[0].imshow(np.clip(picture, 0, 1))
    above[0].set_title("picture, 32x32x3", fontsize=10)
    for top, low, name in zip(above[1:], under[1:], DRAWN, strict=True):
        one = maps[:, :, names.index(name)]
        top.imshow(one, cmap="gray")
        top.set_title(name, fontsize=10)
        low.imshow(pool(one[:, :, None])[:, :, 0], cmap="gray")
        low.set_title("pooled, 16x16", fontsize=10)
    for axes in (*above, *under):
        axes.axis("off")
    return drawing.save(figure, path)


RECIPE = Lesson(
    name="convolution-by-hand",
    description="Twelve filters on 32x32x3 give 32x32x12, max pooling gives 16x16x12; by hand and in Keras.",
    study=Convolution(),
)
