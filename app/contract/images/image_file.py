"""Encoded image to pixels: a PNG, JPEG, GIF, BMP, WebP or TIFF file as an image of mode L or RGB.

A photograph has a hundred times the pixels that any step looks at. Above ``REDUCE_FROM_PIXELS`` an image is reduced by
a power of two while it is decoded (JPEG) or right after, so that what follows costs the same for every photograph; all
others are decoded as they are.
"""

import io
import struct
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image, UnidentifiedImageError

from app.contract.images.image_headers import MOST_SCANS, NOTHING, Declared, read_declared
from app.contract.images.tiff_headers import MOST_TIMES_CODED, check_exif
from app.errors import InvalidInput, ServingError, TooLarge, WrongFormat

FORMATS = ("PNG", "JPEG", "GIF", "BMP", "WEBP", "TIFF")
DEFAULT_PIXEL_LIMIT = 25_000_000
# What no JPEG, GIF or WebP exceeds: the decoders hold whole rows, and an address for each row.
MOST_EDGE = 65_535
# A JPEG's scans go over so many times the accepted pixels at most: all that a progressive one of the largest size does.
MOST_PASSES = 20
# An image is reduced while at least a quarter of these pixels remain, and its shorter edge stays so many times as long
# as the longest edge of what the steps end in: each pixel of the result is then a mean or a choice of many.
REDUCE_FROM_PIXELS = 2_000_000
SHORTEST_EDGE_TIMES = 4
# Bytes held for each pixel of a file at the peak, measured with images of 24 megapixels: WebP is decoded by way of
# three canvases, a TIFF may be one strip. What is not reduced has copies on top while it goes through the steps.
BYTES_PER_PIXEL = {"PNG": 5, "GIF": 5, "BMP": 5, "WEBP": 17, "TIFF": 16}
_JPEG_BYTES_PER_PIXEL, _COPIES_BYTES_PER_PIXEL = 8, 12
# What Pillow keeps of metadata, for each byte of it: as it came, joined, as text.
_METADATA_TIMES = 4
_JPEG = {"JPEG", "MPO"}
# libjpeg holds coefficients for whole units of so many pixels each way.
_JPEG_UNIT = 32
# libjpeg decodes at a half, a quarter or an eighth of the size.
_MOST_DRAFT = 8
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

# Asked for a number of bytes; they are held while its context is open.
Room = Callable[[int], AbstractContextManager[None]]

# open_image applies the caller's own limit, to the header; Pillow's would speak first and in other words.
Image.MAX_IMAGE_PIXELS = None


def no_bound(_nbytes: int) -> AbstractContextManager[None]:
    """A ``Room`` without walls."""
    return nullcontext()


@dataclass(frozen=True)
class ImageFile:
    """An image whose header is read and whose pixels are not.

    Attributes:
        image: not loaded.
        factor: by which it is reduced, a power of two.
        declared: what its structure costs beyond its pixels.
    """

    image: Image.Image
    factor: int
    declared: Declared

    @property
    def peak_bytes(self) -> int:
        """Bytes that decoding it and all steps after that hold at the peak, by its header."""
        width, height = self.image.size
        pixels = width * height
        copies = pixels * _COPIES_BYTES_PER_PIXEL if self.factor == 1 else 0
        held = copies + _METADATA_TIMES * self.declared.metadata_bytes
        if self.image.format not in _JPEG:
            beyond = max(0, self.declared.block_pixels - pixels)
            return held + pixels * BYTES_PER_PIXEL[self.image.format or "TIFF"] + beyond * BYTES_PER_PIXEL["TIFF"]
        if self.declared.is_held_whole:  # as two bytes for each value
            units = -(-width // _JPEG_UNIT) * -(-height // _JPEG_UNIT)
            held += units * _JPEG_UNIT**2 * (2 * len(self.image.getbands()) + 1)
        return held + pixels * _JPEG_BYTES_PER_PIXEL // min(self.factor, _MOST_DRAFT) ** 2

    def decode(self) -> Image.Image:
        """The first frame as mode L or RGB: EXIF orientation applied, alpha laid over white, 16 bit scaled to 8.

        Raises:
            InvalidInput: truncated or damaged.
            TooLarge: there is no memory for it.
        """
        with _its_faults():
            return _decode(self.image, self.factor)


def open_image(data: bytes, *, pixel_limit: int = DEFAULT_PIXEL_LIMIT, longest_edge: int | None = None) -> ImageFile:
    """Read the header of a file.

    Args:
        data: the file.
        pixel_limit: most pixels accepted.
        longest_edge: of what the caller makes of the image; None asks for all of its pixels.

    Raises:
        WrongFormat: not an image.
        TooLarge: above the pixel limit, or made of more parts than any program writes.
        InvalidInput: truncated, damaged, or of a kind that is not accepted.
    """
    try:
        with _its_faults():
            declared = read_declared(data)
            if declared is not NOTHING:
                _check_declared(declared, pixel_limit)
            image: Image.Image = Image.open(io.BytesIO(data), formats=FORMATS)
    except UnidentifiedImageError as error:
        raise WrongFormat(f"{len(data)} bytes are not a {', '.join(FORMATS[:-1])} or {FORMATS[-1]} image") from error
    width, height = image.size
    _check_size(width, height, pixel_limit)
    if declared.scans > 1:
        _check_scans(declared.scans, declared.scanned_pixels or width * height, pixel_limit)
    if image.mode == "F":
        raise InvalidInput("floating-point images are not accepted; send 8 or 16 bits per channel")
    return ImageFile(image, 1 if longest_edge is None else _factor(width, height, longest_edge), declared)


def is_cheap(data: bytes, *, most_bytes: int, most_pixels: int) -> bool:
    """Whether a file is a PNG that says it is small, without a part that inflates to more than its pixels.

    Every other file has to be opened to know what it costs.
    """
    if len(data) > most_bytes or len(data) < 24 or data[:8] != b"\x89PNG\r\n\x1a\n" or data[12:16] != b"IHDR":
        return False
    width, height = struct.unpack_from(">II", data, 16)
    return width * height <= most_pixels and not any(part in data for part in (b"zTXt", b"iTXt", b"iCCP"))


def _check_size(width: int, height: int, pixel_limit: int) -> None:
    if width * height > pixel_limit:
        raise TooLarge(f"image has {width}x{height} pixels; at most {pixel_limit} pixels are accepted")
    if width > MOST_EDGE or height > MOST_EDGE:
        raise TooLarge(f"image has {width}x{height} pixels; an edge of at most {MOST_EDGE} pixels is accepted")


def _check_declared(declared: Declared, pixel_limit: int) -> None:
    """What can be refused before Pillow takes memory."""
    _check_size(declared.width, declared.height, pixel_limit)
    if declared.block_pixels > pixel_limit:
        raise TooLarge(f"a tile has {declared.block_pixels} pixels; at most {pixel_limit} pixels are accepted")
    if declared.coded_pixels > MOST_TIMES_CODED * pixel_limit:
        raise TooLarge(
            f"the tiles have {declared.coded_pixels} pixels; at most {MOST_TIMES_CODED * pixel_limit} are accepted"
        )
    if declared.is_held_whole and declared.scans > MOST_SCANS:
        raise TooLarge(f"a JPEG has more than {MOST_SCANS} scans; send it with fewer")


def _check_scans(scans: int, pixels: int, pixel_limit: int) -> None:
    if scans * pixels > MOST_PASSES * pixel_limit:
        raise TooLarge(
            f"the {scans} scans of a JPEG go over {scans * pixels} pixels; at most {MOST_PASSES * pixel_limit} are "
            "accepted; send it with fewer scans"
        )


@contextmanager
def _its_faults() -> Iterator[None]:
    """Whatever a file makes Pillow raise is that file's fault: OSError, SyntaxError, TypeError and others were seen."""
    try:
        yield
    except (ServingError, UnidentifiedImageError):
        raise
    except MemoryError as error:
        raise TooLarge("there is no memory to decode the image") from error
    except Exception as error:
        raise InvalidInput(f"image is truncated or damaged: {error}") from error


def _factor(width: int, height: int, longest_edge: int) -> int:
    factor = 1
    while (
        width * height > REDUCE_FROM_PIXELS * factor**2
        and min(width, height) >= SHORTEST_EDGE_TIMES * longest_edge * factor * 2
    ):
        factor *= 2
    return factor


def _decode(image: Image.Image, factor: int) -> Image.Image:
    """Decode, reduce, flatten and turn."""
    width, height = image.size
    if image.format in _JPEG and factor > 1:
        drafted = min(factor, _MOST_DRAFT)
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
    """The image as L or RGB, each ``factor`` x ``factor`` pixels as their mean; in bands, so that no copy is whole."""
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
    assert whole is not None  # an image has a row
    return whole


def _is_deep(image: Image.Image) -> bool:
    """Whether an image of more than 8 bits a channel makes use of them."""
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
    """The image in that mode; itself, not a copy, if it has it."""
    return image if image.mode == mode else image.convert(mode)
