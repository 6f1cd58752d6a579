"""Drawn digits: strokes with a random slant, size, place and width. Nothing here is from a data set."""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

OVERSAMPLING = 8  # strokes are drawn 8 times larger and averaged, for smooth edges
MARGIN = 0.15  # of the edge, around an undisturbed digit

Stroke = Sequence[tuple[float, float]]


def _arc(centre: tuple[float, float], radii: tuple[float, float], first: float, last: float) -> Stroke:
    """Points of an ellipse from one angle to another, in degrees, clockwise from the right."""
    angles = np.radians(np.linspace(first, last, 24))
    return [(centre[0] + radii[0] * np.cos(angle), centre[1] + radii[1] * np.sin(angle)) for angle in angles]


STROKES: Mapping[int, tuple[Stroke, ...]] = {
    0: (_arc((0.5, 0.5), (0.35, 0.5), 0, 360),),
    1: ([(0.3, 0.25), (0.55, 0.0), (0.55, 1.0)],),
    2: ([*_arc((0.5, 0.28), (0.35, 0.28), 190, 390), (0.12, 1.0), (0.88, 1.0)],),
    3: (_arc((0.45, 0.25), (0.35, 0.25), 200, 450), _arc((0.45, 0.75), (0.38, 0.25), 270, 520)),
    4: ([(0.7, 1.0), (0.7, 0.0), (0.1, 0.68), (0.95, 0.68)],),
    5: ([(0.85, 0.0), (0.25, 0.0), (0.2, 0.45), *_arc((0.48, 0.7), (0.36, 0.3), 230, 510)],),
    6: ([(0.75, 0.0), (0.3, 0.4), *_arc((0.5, 0.7), (0.36, 0.3), 190, 550)],),
    7: ([(0.1, 0.0), (0.9, 0.0), (0.4, 1.0)],),
    8: (_arc((0.5, 0.25), (0.3, 0.25), 0, 360), _arc((0.5, 0.75), (0.38, 0.25), 0, 360)),
    9: (_arc((0.5, 0.3), (0.36, 0.3), 0, 360), [(0.86, 0.3), (0.7, 1.0)]),
}
"""Digit -> its strokes, in a square from (0, 0) at the top left to (1, 1)."""


def digit_images(count: int, *, seed: int, edge: int) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """Draw digits, as many of each as ``count`` allows, in random order.

    Returns:
        images: uint8 (count, edge, edge), bright on black.
        labels: int64 (count,), 0 to 9.
    """
    rng = np.random.default_rng([seed, 10])
    labels = rng.permutation(np.arange(count, dtype=np.int64) % len(STROKES))
    images = np.zeros((count, edge, edge), np.uint8)
    for index, label in enumerate(labels):
        images[index] = _draw(STROKES[int(label)], edge, np.random.default_rng([seed, 11, index]))
    return images, labels


def _draw(strokes: Sequence[Stroke], edge: int, rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    size = edge * OVERSAMPLING
    canvas = Image.new("L", (size, size))
    slant, scale, shift = rng.uniform(-0.25, 0.25), rng.uniform(0.8, 1.1, 2), rng.uniform(-0.06, 0.06, 2)
    width = round(size * rng.uniform(0.08, 0.14))
    brush = ImageDraw.Draw(canvas)
    for stroke in strokes:
        points = np.asarray(stroke) - 0.5
        points[:, 0] -= slant * points[:, 1]
        places = (points * scale * (1 - 2 * MARGIN) + 0.5 + shift) * size
        brush.line([(float(x), float(y)) for x, y in places], fill=255, width=width, joint="curve")
    return np.asarray(canvas.resize((edge, edge), Image.Resampling.BOX))
