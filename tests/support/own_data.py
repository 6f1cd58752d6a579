"""Data as a user might have it: folders of pictures, files of texts, tables; drawn, so that none is from a data set."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

SHAPES = ("circle", "square", "triangle")


def write_pictures(folder: Path, *, count: int = 300, seed: int = 0, classes: tuple[str, ...] = SHAPES) -> None:
    """``count`` pictures of shapes, JPEG and PNG, of many sizes, in one folder for each class."""
    rng = np.random.default_rng(seed)
    for number in range(count):
        label = classes[number % len(classes)]
        (folder / label).mkdir(parents=True, exist_ok=True)
        width, height = (int(edge) for edge in rng.integers(120, 480, 2))
        picture = draw_shape(label, width, height, rng)
        suffix = "png" if number % 5 == 0 else "jpg"
        picture.save(folder / label / f"{number:04d}.{suffix}")


def draw_shape(label: str, width: int, height: int, rng: np.random.Generator) -> Image.Image:
    """One filled shape on a noisy ground of another colour, within the central square."""
    ground = rng.integers(0, 256, 3)
    noise = rng.normal(0, 12, (height, width, 3))
    picture = Image.fromarray(np.clip(ground + noise, 0, 255).astype(np.uint8))
    colour = tuple(int(value) for value in (ground + rng.integers(80, 176, 3)) % 256)
    edge = min(width, height)
    radius = int(edge * rng.uniform(0.2, 0.35))
    x, y = (int(size / 2 + rng.uniform(-0.1, 0.1) * edge) for size in (width, height))
    draw = ImageDraw.Draw(picture)
    if label == "circle":
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour)
    elif label == "square":
        draw.rectangle((x - radius, y - radius, x + radius, y + radius), fill=colour)
    else:
        draw.polygon([(x, y - radius), (x - radius, y + radius), (x + radius, y + radius)], fill=colour)
    return picture
