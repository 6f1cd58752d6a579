"""Pixels of an opened image: decoded, reduced, flattened to mode L or RGB, and rotated."""

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image

from app.contract.images.tiff_headers import check_exif

JPEG = {"JPEG", "MPO"}
# libjpeg can decode at a half, a quarter or an eighth of the size.
MOST_DRAFT = 8
_BAND_PIXELS = 262_144
_ORIENTATIONS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def decoded(image: Image.Image, factor: int) -> Image.Image:
    """Decode, reduce, flatten and rotate."""
    width, height = image.size
    if image.format in JPEG and factor > 1:
        drafted = min(factor, MOST_DRAFT)
        image.draft(None, (width // drafted, height // drafted))
        factor //= drafted
    image.load()
    if exif := image.info.get("exif"):
        check_exif(exif)
    turn = _ORIENTATIONS.get(image.getexif().get(ExifTags.Base.Orientation, 1))
    as_it_is = factor == 1 and image.mode in {"L", "RGB"} and not image.has_transparency_data
    flat = image if as_it_is else _flat(image, factor)
    return flat if turn is None else flat.transpose(turn)


def _flat(image: Image.Image, factor: int) -> Image.Image:
    """The image as L or RGB, each ``factor`` x ``factor`` pixels averaged; works in bands to avoid a full copy."""
    deep = _is_deep(image)
    width, height = image.size
    rows = factor * max(1, _BAND_PIXELS // (width * factor))
    whole: Image.Image | None = None
    for top in range(0, height, rows):
        band = _flatten(image.crop((0, top, width, min(top + rows, height))), deep)
        if factor > 1:
            band = band.reduce(factor)
        if whole is None:
            whole = Image.new(band.mode, (band.width, -(-height // factor)))
        whole.paste(band, (0, top // factor))
    assert whole is not None  # an image has at least one row
    return whole


def _is_deep(image: Image.Image) -> bool:
    """Whether an image with more than 8 bits per channel uses them."""
    if not image.mode.startswith("I"):
        return False
    extrema = image.getextrema()
    return bool(extrema and extrema[1] > 255)  # type: ignore[operator]


def _flatten(image: Image.Image, deep: bool) -> Image.Image:
    """Any Pillow mode to L or RGB."""
    if image.mode.startswith("I"):
        values: npt.NDArray[np.int64] = np.asarray(image).astype(np.int64)
        scaled = np.clip(values // 257 if deep else values, 0, 255)
        return Image.fromarray(scaled.astype(np.uint8))
    if image.mode == "P":
        image = image.convert("RGBA" if "transparency" in image.info else "RGB")
    if image.has_transparency_data:
        grey = image.mode in {"L", "LA", "La", "1"}
        layer = image.convert("RGBA")
        ground = Image.new("RGBA", image.size, (255, 255, 255, 255))
        return Image.alpha_composite(ground, layer).convert("L" if grey else "RGB")
    return in_mode(image, "L" if image.mode in {"1", "L"} else "RGB")


def in_mode(image: Image.Image, mode: str) -> Image.Image:
    """The image in that mode; the image itself, not a copy, if it has that mode."""
    return image if image.mode == mode else image.convert(mode)
