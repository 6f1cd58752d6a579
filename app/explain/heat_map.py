"""A heat map over an image: which regions speak for the class, and which against it."""

import io

import numpy as np
import numpy.typing as npt
from PIL import Image

from app.explain.explainer import Explanation
from app.explain.input_parts import ImageParts

EDGE = 336
"""Pixels of the longer side of the picture, at least; a larger image keeps its size."""
FOR, AGAINST = (230, 97, 0), (26, 90, 180)
"""Orange and blue, which people with any of the common colour deficiencies tell apart, on a grey image."""
STRONGEST = 0.75
"""Share of the colour where the score is largest."""


def heat_map(found: Explanation) -> bytes | None:
    """A PNG of the first image of an instance, grey, with orange where it speaks for the class and blue where against.

    The depth of a colour is the score of the region divided by the largest one; white stays what the image has there.
    None if the instance has no image.
    """
    start = 0
    for parts in found.parts.each:
        if isinstance(parts, ImageParts):
            return _png(_blended(parts, found.attribution.scores[start : start + parts.count]))
        start += parts.count
    return None


def _blended(parts: ImageParts, scores: npt.NDArray[np.float64]) -> npt.NDArray[np.uint8]:
    image = parts.image.astype(np.float64)
    grey = image if image.ndim == 2 else image.mean(axis=2)
    largest = np.abs(scores).max()
    strength = (scores / largest if largest else scores)[parts.region_of][..., None]
    colour = np.where(strength > 0, np.array(FOR, np.float64), np.array(AGAINST, np.float64))
    share = STRONGEST * np.abs(strength)
    blended: npt.NDArray[np.uint8] = ((1 - share) * grey[..., None] + share * colour).round().astype(np.uint8)
    return blended


def _png(pixels: npt.NDArray[np.uint8]) -> bytes:
    image = Image.fromarray(pixels)
    times = -(-EDGE // max(image.size))
    if times > 1:
        image = image.resize((image.width * times, image.height * times), Image.Resampling.NEAREST)
    written = io.BytesIO()
    image.save(written, "png")
    return written.getvalue()
