"""Encoded image to model input: named, pure steps, the same code in training and in serving.

``image_to_instance`` is the whole way. An image that already has the input's size and channels passes through
unchanged; any other goes through the steps that model.json names, so that a photograph ends up looking like the
images the model was trained on.
"""

import io
import math
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter, ImageOps, UnidentifiedImageError

from app.contract.model_spec import ImagePreprocessing, TensorSpec, TransformStep
from app.errors import InvalidInput, TooLarge, VersionRefused, WrongFormat

FORMATS = ("PNG", "JPEG", "GIF", "BMP", "WEBP", "TIFF")
DEFAULT_PIXEL_LIMIT = 25_000_000

Colour = tuple[int, int, int]

# decode_image applies the caller's own limit, to the header; Pillow's would speak first and in other words.
Image.MAX_IMAGE_PIXELS = None


@dataclass(frozen=True)
class Canvas:
    """An image on its way through the steps.

    Attributes:
        image: mode L or RGB.
        background: colour of the ground, as RGB; the mean of the corner pixels.
    """

    image: Image.Image
    background: Colour


def image_to_instance(
    data: bytes,
    *,
    preprocessing: ImagePreprocessing,
    target: TensorSpec,
    pixel_limit: int = DEFAULT_PIXEL_LIMIT,
) -> npt.NDArray[np.uint8]:
    """Decode one encoded image into one instance.

    Args:
        data: a PNG, JPEG, GIF, BMP, WebP or TIFF file.
        preprocessing: the steps of the model.
        target: the input they feed; uint8, (height, width) or (height, width, 3).
        pixel_limit: most pixels accepted; checked against the header before anything is decoded.

    Returns:
        uint8, shape ``target.shape``.

    Raises:
        InvalidInput: not an image, truncated, or above the pixel limit.
    """
    image = decode_image(data, pixel_limit=pixel_limit)
    height, width, channels = *target.shape[:2], target.shape[2] if len(target.shape) == 3 else 1
    if image.size != (width, height) or len(image.getbands()) != channels:
        image = apply_steps(image, preprocessing.steps)
    return np.asarray(_in_mode(image, "L" if channels == 1 else "RGB"), dtype=np.uint8)


def decode_image(data: bytes, *, pixel_limit: int = DEFAULT_PIXEL_LIMIT) -> Image.Image:
    """Read the first frame as mode L or RGB: EXIF orientation applied, alpha laid over white, 16 bit scaled to 8.

    Raises:
        WrongFormat: not an image.
        InvalidInput: truncated, or above the pixel limit.
    """
    try:
        with warnings.catch_warnings():
            # Pillow warns of damaged metadata that we do not use.
            warnings.simplefilter("ignore")
            image: Image.Image = Image.open(io.BytesIO(data), formats=FORMATS)
            if image.width * image.height > pixel_limit:
                raise InvalidInput(
                    f"image has {image.width}x{image.height} pixels; at most {pixel_limit} pixels are accepted"
                )
            image.load()
            ImageOps.exif_transpose(image, in_place=True)
            return _flatten(image)
    except UnidentifiedImageError as error:
        raise WrongFormat(f"{len(data)} bytes are no {', '.join(FORMATS[:-1])} or {FORMATS[-1]} image") from error
    except InvalidInput:
        raise
    except MemoryError as error:
        raise TooLarge("image takes more memory to decode than there is") from error
    except Exception as error:
        raise InvalidInput(f"image is truncated or damaged: {error}") from error


def _flatten(image: Image.Image) -> Image.Image:
    """Any Pillow mode to L or RGB."""
    if image.mode.startswith("I"):
        values = np.asarray(image).astype(np.int64)
        scaled = np.clip(values // 257, 0, 255) if values.size and values.max() > 255 else np.clip(values, 0, 255)
        return Image.fromarray(scaled.astype(np.uint8))
    if image.mode == "F":
        raise InvalidInput("floating-point images are not accepted; send 8 or 16 bits per channel")
    if image.mode == "P":
        image = image.convert("RGBA" if "transparency" in image.info else "RGB")
    if image.has_transparency_data:
        grey = image.mode in {"L", "LA", "La", "1"}
        layer = image.convert("RGBA")
        ground = Image.new("RGBA", image.size, (255, 255, 255, 255))
        return Image.alpha_composite(ground, layer).convert("L" if grey else "RGB")
    return _in_mode(image, "L" if image.mode in {"1", "L"} else "RGB")


def _in_mode(image: Image.Image, mode: str) -> Image.Image:
    """The image in that mode; itself, not a copy, if it has it."""
    return image if image.mode == mode else image.convert(mode)


def apply_steps(image: Image.Image, steps: tuple[TransformStep, ...]) -> Image.Image:
    """Run ``steps`` in order on an image of mode L or RGB."""
    canvas = Canvas(image, _corner_mean(image))
    for step in steps:
        canvas = STEPS[step.step](canvas, **step.arguments)
    return canvas.image


def check_steps(preprocessing: ImagePreprocessing, target: TensorSpec) -> None:
    """Refuse steps that are unknown, take other arguments, or do not end in the size of ``target``.

    Raises:
        VersionRefused: names the step, or the size reached and the size wanted.
    """
    for step in preprocessing.steps:
        if step.step not in STEPS:
            raise VersionRefused(f"unknown image step {step.step!r}; known are {', '.join(sorted(STEPS))}")
    height, width = target.shape[:2]
    try:
        reached = apply_steps(Image.new("RGB", (3 * width + 1, 2 * height + 1)), preprocessing.steps).size
    except TypeError as error:
        raise VersionRefused(f"image steps: {error}") from error
    if reached != (width, height):
        raise VersionRefused(
            f"image steps end in {reached[0]}x{reached[1]} pixels, {target.name!r} wants {width}x{height}"
        )


def trim(canvas: Canvas, *, fuzz: float = 0.05) -> Canvas:
    """Cut away edges in the colour of the corners.

    Args:
        canvas: the image so far.
        fuzz: largest distance in RGB space that counts as the same colour, as a fraction of the largest possible.

    Source: Xiao, Rasul, Vollgraf, Fashion-MNIST, arXiv:1708.07747, section 2, step 2 (5 %).
    """
    pixels = np.asarray(canvas.image.convert("RGB"), dtype=np.float32)  # (height, width, 3)
    limit = fuzz * 255 * math.sqrt(3)
    corners = pixels[[0, 0, -1, -1], [0, -1, 0, -1]]  # (4, 3)
    distance = np.min([np.linalg.norm(pixels - corner, axis=2) for corner in corners], axis=0)
    rows, columns = np.nonzero(distance > limit)
    if not len(rows):  # one colour all over: there is nothing to find
        return canvas
    box = (int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1)
    return replace(canvas, image=canvas.image.crop(box))


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


def _corner_mean(image: Image.Image) -> Colour:
    pixels: npt.NDArray[Any] = np.asarray(image.convert("RGB"))
    red, green, blue = pixels[[0, 0, -1, -1], [0, -1, 0, -1]].mean(axis=0).round().astype(int)
    return int(red), int(green), int(blue)
