"""Encoded images for tests."""

import io
import struct
import zlib

import numpy as np
from PIL import Image


def png(pixels: np.ndarray, **options) -> bytes:
    return encode(Image.fromarray(pixels), "PNG", **options)


def encode(image: Image.Image, form: str, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def png_header(width: int, height: int) -> bytes:
    """A PNG that declares its size and contains no pixels."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    chunk = struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
    data = struct.pack(">I", 0) + b"IDAT" + struct.pack(">I", zlib.crc32(b"IDAT"))
    return b"\x89PNG\r\n\x1a\n" + chunk + data


def damaged_tiff() -> bytes:
    """A TIFF whose strip starts at an offset that is not an integer: Pillow raises TypeError."""
    whole = encode(Image.fromarray(np.zeros((4, 4), np.uint8)), "TIFF")
    strip_offsets, as_long, as_float = 273, 4, 11
    damaged = whole.replace(struct.pack("<HH", strip_offsets, as_long), struct.pack("<HH", strip_offsets, as_float))
    assert damaged != whole
    return damaged
