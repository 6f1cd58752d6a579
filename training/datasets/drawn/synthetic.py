"""The project's own instances: drawn garments, coloured blobs, template sentences. Nothing here is from a data set.

They are used for tests, golden samples, demonstrations (``--dataset synthetic``) and the README; the published models
are trained on real data. Equal seeds give equal instances. The garments' shapes are in ``garment_shapes``, the
sentences' words in ``review_templates``.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFilter

from training.datasets.drawn.garment_shapes import CHECKS, GRID, OUTLINES, Part
from training.datasets.drawn.review_templates import write_review
from training.datasets.fashion_labels import FASHION_LABELS

OVERSAMPLING = 8  # the shapes are drawn 8 times larger and averaged, for smooth edges

Images = npt.NDArray[np.uint8]
Labels = npt.NDArray[np.int64]
Generator = np.random.Generator


def fashion_images(count: int, *, seed: int) -> tuple[Images, Labels]:
    """Draw garments in the ten classes of Fashion-MNIST, as evenly as ``count`` allows, in random order.

    Returns:
        images: uint8 (count, 28, 28), bright on black.
        labels: int64 (count,), 0 to 9 in the order of FASHION_LABELS.
    """
    rng = np.random.default_rng([seed, 1])
    labels = _balanced(rng, count, classes=len(FASHION_LABELS))
    images = np.zeros((count, GRID, GRID), np.uint8)
    for index, label in enumerate(labels):
        images[index] = _draw(FASHION_LABELS[label], np.random.default_rng([seed, 2, index]))
    return images, labels


def coloured_blobs(count: int, *, seed: int, classes: int = 2) -> tuple[Images, Labels]:
    """Draw one soft blob per picture: class 0 warm and round, class 1 cold and long, on a noisy ground.

    Further pairs of classes are these two with swapped channels, then with inverted colours.

    Returns:
        images: uint8 (count, 32, 32, 3).
        labels: int64 (count,), 0 to ``classes - 1``.
    """
    rng = np.random.default_rng([seed, 3])
    labels = _balanced(rng, count, classes=classes)
    images = np.zeros((count, 32, 32, 3), np.uint8)
    for index, label in enumerate(labels):
        blob = np.roll(_blob(np.random.default_rng([seed, 4, index]), cold=bool(label % 2)), label // 2, axis=2)
        images[index] = 255 - blob if label >= 6 else blob
    return images, labels


def sentences(count: int, *, seed: int) -> tuple[list[str], Labels]:
    """Write short film reviews from templates, one to about forty sentences long.

    Returns:
        texts: count strings.
        labels: int64 (count,), 0 negative, 1 positive.
    """
    rng = np.random.default_rng([seed, 5])
    labels = _balanced(rng, count, classes=2)
    texts = [
        write_review(np.random.default_rng([seed, 6, index]), positive=bool(label))
        for index, label in enumerate(labels)
    ]
    return texts, labels


def draw_garment(name: str, *, seed: int = 0) -> Images:
    """Draw one garment by its label, e.g. "Ankle boot".

    Returns:
        uint8 (28, 28), bright on black, filling the frame and pointing left as in Fashion-MNIST.

    Raises:
        ValueError: ``name`` is not in FASHION_LABELS.
    """
    return _draw(name, np.random.default_rng([seed, 7]))


def draw_photo(name: str, *, height: int = 300, width: int = 200, seed: int = 0) -> Images:
    """Draw one garment as a shop's photograph would show it: in colour, small, on a light ground.

    Returns:
        uint8 (height, width, 3).

    Raises:
        ValueError: ``name`` is not in FASHION_LABELS.
    """
    rng = np.random.default_rng([seed, 8])
    edge = int(0.8 * min(height, width))
    tone = _tone(_outline(name, rng), edge, scale=1.0, shift=(0.0, 0.0))
    cover = (tone > 0)[..., None]
    dye = np.array([96, 60, 40]) + rng.uniform(-15, 15, 3)
    cloth = dye * (0.55 + 0.45 * tone[..., None])
    ground = np.full((height, width, 3), 244.0)
    top, left = (height - edge) // 2, (width - edge) // 2
    window = ground[top : top + edge, left : left + edge]
    window[:] = np.where(cover, cloth, window)
    return np.asarray(Image.fromarray(_bytes(ground)).filter(ImageFilter.GaussianBlur(0.6)))


def _balanced(rng: Generator, count: int, *, classes: int) -> Labels:
    """``count`` labels, shuffled; the frequencies of the classes differ by at most one."""
    return rng.permutation(np.arange(count, dtype=np.int64) % classes)


def _outline(name: str, rng: Generator) -> list[Part]:
    if name not in OUTLINES:
        raise ValueError(f"unknown garment {name!r}; choose one of {', '.join(FASHION_LABELS)}")
    return OUTLINES[name](rng)


def _draw(name: str, rng: Generator) -> Images:
    parts = _outline(name, rng)
    shift = (float(rng.uniform(-0.4, 0.4)), float(rng.uniform(-0.4, 0.4)))
    tone = _tone(parts, GRID, scale=float(rng.uniform(0.96, 1.0)), shift=shift)
    cover = tone > 0
    cloth = _texture(rng, checks=CHECKS.get(name, 0.0)) * tone * rng.uniform(0.62, 0.92)
    blurred = np.asarray(Image.fromarray(_bytes(255 * cloth)).filter(ImageFilter.GaussianBlur(1)), np.float64)
    sharp = 255 * cloth + 0.5 * (255 * cloth - blurred)  # the makers of Fashion-MNIST sharpened their photographs
    return _bytes(np.where(cover, sharp, 0))


def _tone(parts: list[Part], edge: int, *, scale: float, shift: tuple[float, float]) -> npt.NDArray[np.float64]:
    """Paint the parts one over another: float64 (edge, edge), 0 is ground, 1 the lightest cloth."""
    size = edge * OVERSAMPLING if edge <= GRID else edge * 2
    canvas = Image.new("L", (size, size))
    pen = ImageDraw.Draw(canvas)
    unit = size / GRID
    for part in parts:
        points = (np.asarray(part.points) - GRID / 2) * scale + GRID / 2 + shift
        pen.polygon([(x * unit, y * unit) for x, y in points], fill=round(255 * part.tone))
    return np.asarray(canvas.resize((edge, edge), Image.Resampling.BOX), np.float64) / 255


def _texture(rng: Generator, *, checks: float) -> npt.NDArray[np.float64]:
    """Folds, grain and, with a contrast above 0, checks: float64 (28, 28) around 1."""
    rows, columns = np.mgrid[0:GRID, 0:GRID]
    folds = 0.04 * np.sin(columns * rng.uniform(0.5, 1.2) + rows * rng.uniform(-0.2, 0.2) + rng.uniform(0, 6))
    period, phase = int(rng.integers(3, 6)), int(rng.integers(6))
    dark = ((rows + phase) % period < 1).astype(float) + ((columns + phase) % period < 1)
    return np.asarray(1 + folds - checks * dark / 2 + rng.normal(0, 0.03, (GRID, GRID)))


def _blob(rng: Generator, *, cold: bool) -> Images:
    """uint8 (32, 32, 3)."""
    rows, columns = np.mgrid[0:32, 0:32]
    across, along = rng.uniform(4, 7), rng.uniform(1.8, 2.6) if cold else rng.uniform(0.9, 1.1)
    angle = rng.uniform(0, np.pi)
    y, x = rows - rng.uniform(12, 20), columns - rng.uniform(12, 20)
    u, v = x * np.cos(angle) + y * np.sin(angle), -x * np.sin(angle) + y * np.cos(angle)
    blob = np.exp(-((u / (across * along)) ** 2 + (v / across) ** 2))[..., None]
    ink = np.array([70, 110, 210] if cold else [220, 140, 60]) + rng.uniform(-25, 25, 3)
    ground = rng.uniform(60, 180, 3) + rng.normal(0, 12, (32, 32, 3))
    return _bytes(ground * (1 - blob) + ink * blob)


def _bytes(values: npt.NDArray[Any]) -> Images:
    return np.asarray(np.clip(np.rint(values), 0, 255).astype(np.uint8))
