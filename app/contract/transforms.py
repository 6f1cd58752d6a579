"""Encoded image to model input: named, pure steps, the same code in training and in serving.

``image_to_instance`` does the whole conversion. An image that already has the input's size and channels stays
unchanged. Any other image goes through the steps in model.json, so that a photograph ends up looking like the images
the model was trained on.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter, ImageOps

from app.contract.images.image_file import DEFAULT_PIXEL_LIMIT, Room, no_bound, open_image
from app.contract.images.pixels import in_mode
from app.contract.steps import ImagePreprocessing, TransformStep
from app.contract.tensor_spec import TensorSpec
from app.errors import VersionRefused

# Rows and columns are processed in bands of this many pixels, so that no step needs a second image of larger numbers.
_BAND_PIXELS = 131_072

Colour = tuple[int, int, int]


@dataclass(frozen=True)
class Canvas:
    """An image between the steps.

    Attributes:
        image: mode L or RGB.
        background: background colour as RGB: the mean of the corner pixels.
    """

    image: Image.Image
    background: Colour


def image_to_instance(
    data: bytes,
    *,
    preprocessing: ImagePreprocessing,
    target: TensorSpec,
    pixel_limit: int = DEFAULT_PIXEL_LIMIT,
    room: Room = no_bound,
) -> npt.NDArray[np.uint8]:
    """Decode one encoded image to one instance. The cost is limited by the file's bytes and its declared pixels.

    Args:
        data: a PNG, JPEG, GIF, BMP, WebP or TIFF file.
        preprocessing: the steps of the model.
        target: the input they feed; uint8, (height, width) or (height, width, 3).
        pixel_limit: most pixels accepted; checked against the header before anything is decoded.
        room: reserves the bytes that decoding needs at its peak, until it ends.

    Returns:
        uint8, shape ``target.shape``.

    Raises:
        InvalidInput: not an image, truncated, or above the pixel limit.
        ServingError: any error of ``room``.
    """
    height, width, channels = *target.shape[:2], target.shape[2] if len(target.shape) == 3 else 1
    file = open_image(data, pixel_limit=pixel_limit, longest_edge=max(height, width))
    with room(file.peak_bytes):
        image = file.decode()
        if image.size != (width, height) or len(image.getbands()) != channels:
            image = apply_steps(image, preprocessing.steps)
        return np.asarray(in_mode(image, "L" if channels == 1 else "RGB"), dtype=np.uint8)


def apply_steps(image: Image.Image, steps: tuple[TransformStep, ...]) -> Image.Image:
    """Run ``steps`` in order on an image of mode L or RGB."""
    canvas = Canvas(image, _corner_mean(image))
    for step in steps:
        canvas = STEPS[step.step](canvas, **step.arguments)
    return canvas.image


def check_steps(preprocessing: ImagePreprocessing, target: TensorSpec) -> None:
    """Refuse steps that are unknown, have wrong arguments, or do not end in the size of ``target``.

    Raises:
        VersionRefused: names the step, or the resulting and the expected size.
    """
    for step in preprocessing.steps:
        if step.step not in STEPS:
            raise VersionRefused(f"unknown image step {step.step!r}; known are {', '.join(sorted(STEPS))}")
    height, width = target.shape[:2]
    try:
        reached = apply_steps(Image.new("RGB", (3 * width + 1, 2 * height + 1)), preprocessing.steps).size
    except (TypeError, ValueError, ArithmeticError) as error:
        raise VersionRefused(f"image steps: {error}") from error
    if reached != (width, height):
        raise VersionRefused(
            f"image steps end in {reached[0]}x{reached[1]} pixels, but {target.name!r} requires {width}x{height}"
        )


def trim(canvas: Canvas, *, fuzz: float = 0.05) -> Canvas:
    """Crop edges in the colour of the corners.

    Args:
        canvas: the image so far.
        fuzz: largest RGB distance that counts as the same colour, as a fraction of the largest possible distance.

    Source: Xiao, Rasul, Vollgraf, Fashion-MNIST, arXiv:1708.07747, section 2, step 2 (5 %).
    """
    image = canvas.image
    least = _least_square(fuzz * 255 * math.sqrt(3))
    corners = set(_corners(image))
    columns = np.zeros(image.width, dtype=bool)
    rows = np.zeros(image.height, dtype=bool)
    band = max(1, _BAND_PIXELS // image.width)
    for top in range(0, image.height, band):
        box = (0, top, image.width, min(top + band, image.height))
        pixels = np.asarray(in_mode(image.crop(box), "RGB"), dtype=np.int32)  # (rows, width, 3)
        differs = np.ones(pixels.shape[:2], dtype=bool)
        for corner in corners:
            distance = pixels - np.array(corner, np.int32)
            differs &= np.einsum("ijk,ijk->ij", distance, distance) >= least
        rows[top : box[3]] = differs.any(axis=1)
        columns |= differs.any(axis=0)
    if not rows.any():  # a single colour: nothing to crop
        return canvas
    left, upper = int(columns.argmax()), int(rows.argmax())
    right, lower = image.width - int(columns[::-1].argmax()), image.height - int(rows[::-1].argmax())
    return replace(canvas, image=image.crop((left, upper, right, lower)))


def _least_square(distance: float) -> int:
    """The smallest integer whose square root exceeds ``distance``, both as float32, as in published versions."""
    square = max(0, math.floor(distance**2) - 1)
    while not np.sqrt(np.float32(square)) > np.float32(distance):
        square += 1
    return square


def fit(canvas: Canvas, *, size: int) -> Canvas:
    """Resize so that the longest edge has ``size`` pixels, by leaving out (or repeating) rows and columns.

    Source: arXiv:1708.07747, section 2, step 3 ("subsampling").
    """
    scale = size / max(canvas.image.size)
    width, height = (max(1, round(edge * scale)) for edge in canvas.image.size)
    return replace(canvas, image=canvas.image.resize((width, height), Image.Resampling.NEAREST))


def sharpen(canvas: Canvas) -> Canvas:
    """Sharpen with a Gaussian operator of radius 1 and standard deviation 1.

    Source: arXiv:1708.07747, section 2, step 4; kernel as ImageMagick's ``-sharpen 1x1`` builds it: minus the
    Gaussian, the centre replaced by twice its sum, all divided by the new sum.
    """
    gauss = np.array([[math.exp(-(x * x + y * y) / 2) for x in (-1, 0, 1)] for y in (-1, 0, 1)])
    kernel = -gauss
    kernel[1, 1] = 2 * gauss.sum()
    weights = (kernel / kernel.sum()).ravel().tolist()
    return replace(canvas, image=canvas.image.filter(ImageFilter.Kernel((3, 3), weights, scale=1)))


def extend(canvas: Canvas, *, size: int) -> Canvas:
    """Put the image in the centre of a ``size`` x ``size`` canvas of the background's colour.

    Source: arXiv:1708.07747, section 2, step 5.
    """
    ground = Image.new("RGB", (size, size), canvas.background)
    width, height = canvas.image.size
    ground.paste(canvas.image.convert("RGB"), ((size - width) // 2, (size - height) // 2))
    return replace(canvas, image=ground)


def negate_if_light(canvas: Canvas) -> Canvas:
    """Invert the intensities when the background is light, so that the subject is bright on black.

    Source: arXiv:1708.07747, section 2, step 6; the makers' photographs all have a light ground, ours may not.
    """
    red, green, blue = canvas.background
    if 0.299 * red + 0.587 * green + 0.114 * blue < 128:
        return canvas
    inverted = (255 - red, 255 - green, 255 - blue)
    return Canvas(ImageOps.invert(canvas.image), inverted)


def grey(canvas: Canvas) -> Canvas:
    """Convert to 8-bit grey (ITU-R 601 luma). Source: arXiv:1708.07747, section 2, step 7."""
    return replace(canvas, image=canvas.image.convert("L"))


def crop_square(canvas: Canvas) -> Canvas:
    """Keep the central square, so that resizing does not distort."""
    width, height = canvas.image.size
    edge = min(width, height)
    left, top = (width - edge) // 2, (height - edge) // 2
    return replace(canvas, image=canvas.image.crop((left, top, left + edge, top + edge)))


def resize(canvas: Canvas, *, width: int, height: int) -> Canvas:
    """Resize to exactly ``width`` x ``height``, averaging over the pixels that fall together (Lanczos)."""
    return replace(canvas, image=canvas.image.resize((width, height), Image.Resampling.LANCZOS))


STEPS: Mapping[str, Callable[..., Canvas]] = {
    step.__name__: step for step in (trim, fit, sharpen, extend, negate_if_light, grey, crop_square, resize)
}


def _corners(image: Image.Image) -> list[Colour]:
    """The colours of the four corner pixels, as RGB."""
    right, lower = image.width - 1, image.height - 1
    corners = [image.crop((x, y, x + 1, y + 1)) for y in (0, lower) for x in (0, right)]
    return [(pixel[0], pixel[1], pixel[2]) for pixel in (in_mode(corner, "RGB").tobytes() for corner in corners)]


def _corner_mean(image: Image.Image) -> Colour:
    red, green, blue = np.mean(_corners(image), axis=0).round().astype(int)
    return int(red), int(green), int(blue)
