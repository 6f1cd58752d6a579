"""Encoded image to pixels: a PNG, JPEG, GIF, BMP, WebP or TIFF file to an image of mode L or RGB.

A photograph has a hundred times the pixels that the steps use. Above ``REDUCE_FROM_PIXELS`` an image is reduced by a
power of two during decoding (JPEG) or right after, so that the following steps cost the same for every photograph. All
other images are decoded unchanged.
"""

import io
import struct
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass

from PIL import Image, UnidentifiedImageError

from app.contract.images.image_headers import MOST_SCANS, NOTHING, Declared, read_declared
from app.contract.images.pixels import JPEG, MOST_DRAFT, decoded
from app.contract.images.tiff_headers import MOST_TIMES_CODED
from app.errors import InvalidInput, ServingError, TooLarge, WrongFormat

FORMATS = ("PNG", "JPEG", "GIF", "BMP", "WEBP", "TIFF")
DEFAULT_PIXEL_LIMIT = 25_000_000
# No JPEG, GIF or WebP exceeds this edge: the decoders store whole rows, and an address for each row.
MOST_EDGE = 65_535
# Ratio of pixels in all scans of a JPEG to the accepted pixels: enough for a progressive JPEG of the largest size.
MOST_PASSES = 20
# An image is reduced while at least a quarter of these pixels remain, and while its shorter edge remains this many
# times as long as the longest edge of the steps' result. Each pixel of the result is then a mean or a choice of many.
REDUCE_FROM_PIXELS = 2_000_000
SHORTEST_EDGE_TIMES = 4
# Peak bytes per pixel of a file, measured with images of 24 megapixels: WebP is decoded through three canvases, a TIFF
# may be one strip. An image that is not reduced needs further copies while it goes through the steps.
BYTES_PER_PIXEL = {"PNG": 5, "GIF": 5, "BMP": 5, "WEBP": 17, "TIFF": 16}
_JPEG_BYTES_PER_PIXEL, _COPIES_BYTES_PER_PIXEL = 8, 12
# Bytes that Pillow keeps for each byte of metadata: as received, joined, as text.
_METADATA_TIMES = 4
# libjpeg stores coefficients for whole units of this many pixels along each edge.
_JPEG_UNIT = 32


# Called with a number of bytes; reserves them until its context ends.
Room = Callable[[int], AbstractContextManager[None]]

# open_image checks the caller's own limit against the header; Pillow's limit would raise first, with other words.
Image.MAX_IMAGE_PIXELS = None


def no_bound(_nbytes: int) -> AbstractContextManager[None]:
    """A ``Room`` without a limit."""
    return nullcontext()


@dataclass(frozen=True)
class ImageFile:
    """An image with a parsed header and pixels that are not decoded yet.

    Attributes:
        image: not loaded.
        factor: reduction factor, a power of two.
        declared: costs of its structure besides its pixels.
    """

    image: Image.Image
    factor: int
    declared: Declared

    @property
    def peak_bytes(self) -> int:
        """Peak bytes of decoding it and of all later steps, estimated from its header."""
        width, height = self.image.size
        pixels = width * height
        copies = pixels * _COPIES_BYTES_PER_PIXEL if self.factor == 1 else 0
        held = copies + _METADATA_TIMES * self.declared.metadata_bytes
        if self.image.format not in JPEG:
            beyond = max(0, self.declared.block_pixels - pixels)
            return held + pixels * BYTES_PER_PIXEL[self.image.format or "TIFF"] + beyond * BYTES_PER_PIXEL["TIFF"]
        if self.declared.is_held_whole:  # two bytes per value
            units = -(-width // _JPEG_UNIT) * -(-height // _JPEG_UNIT)
            held += units * _JPEG_UNIT**2 * (2 * len(self.image.getbands()) + 1)
        return held + pixels * _JPEG_BYTES_PER_PIXEL // min(self.factor, MOST_DRAFT) ** 2

    def decode(self) -> Image.Image:
        """The first frame as mode L or RGB: EXIF orientation applied, alpha blended over white, 16 bit scaled to 8.

        Raises:
            InvalidInput: truncated or damaged.
            TooLarge: there is not enough memory for it.
        """
        with _its_faults():
            return decoded(self.image, self.factor)


def open_image(data: bytes, *, pixel_limit: int = DEFAULT_PIXEL_LIMIT, longest_edge: int | None = None) -> ImageFile:
    """Read the header of a file.

    Args:
        data: the file.
        pixel_limit: most pixels accepted.
        longest_edge: longest edge of the caller's result; None requires all pixels.

    Raises:
        WrongFormat: not an image.
        TooLarge: above the pixel limit, or with more parts than any real program writes.
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
    """Whether a file is a PNG with a small declared size, without a chunk that inflates to more than its pixels.

    The cost of any other file is known only after opening it.
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
    """Refuse what is known to be too large before Pillow allocates memory."""
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
    """Convert any exception of Pillow into the file's fault: OSError, SyntaxError, TypeError and others occur."""
    try:
        yield
    except (ServingError, UnidentifiedImageError):
        raise
    except MemoryError as error:
        raise TooLarge("there is not enough memory to decode the image") from error
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
