"""Declarations in the directories of a TIFF file, read before Pillow and libtiff: tags, tiles, strips, byte counts.

libtiff allocates a whole tile even for a small image, and reads a strip as often as the directory lists it. EXIF is
a TIFF directory, too.
"""

import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from app.errors import InvalidInput, TooLarge

MOST_TAGS = 4_096
# Number of tiles or strips.
MOST_BLOCKS = 65_536
# Numbers in all tags of a directory; a fraction becomes a separate Python object.
MOST_NUMBERS, MOST_FRACTIONS = 262_144, 4_096
# Tiles extend beyond the image, and equal tiles may be stored once; this is the largest accepted ratio.
MOST_TIMES_CODED = 2

_WIDTH, _HEIGHT, _COMPRESSION, _SAMPLES, _ROWS_PER_STRIP, _PLANAR = 256, 257, 259, 277, 278, 284
_TILE_WIDTH, _TILE_HEIGHT, _DEPTH, _TILE_DEPTH = 322, 323, 32997, 32998
_OFFSETS, _BYTE_COUNTS = (273, 324), (279, 325)
_EXIF, _GPS, _INTEROPERABILITY = 34665, 34853, 40965
_ONCE = {
    *(_WIDTH, _HEIGHT, _COMPRESSION, _SAMPLES, _ROWS_PER_STRIP, _PLANAR, _TILE_WIDTH, _TILE_HEIGHT),
    *(_DEPTH, _TILE_DEPTH, *_OFFSETS, *_BYTE_COUNTS),
}
_JPEG = {6, 7}
# Types of numbers, in NumPy's notation.
_INTEGERS = {1: "u1", 3: "u2", 4: "u4", 6: "i1", 8: "i2", 9: "i4", 13: "u4", 16: "u8", 17: "i8", 18: "u8"}
_FRACTIONS = {5, 10}
_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
_OPAQUE = {1, 2, 7}
_EXIF_HEAD = re.compile(rb"(?:Exif\x00\x00){1,2}")


@dataclass(frozen=True, slots=True)
class Tiff:
    """The declarations of the first image of a file.

    Attributes:
        width: in pixels; 0 if it is missing.
        height: as width.
        block_pixels: of a tile or strip, which is decoded as a whole.
        coded_pixels: of all tiles or strips.
        metadata_bytes: bytes that its tags refer to.
        is_jpeg: its blocks are JPEG streams.
    """

    width: int = 0
    height: int = 0
    block_pixels: int = 0
    coded_pixels: int = 0
    metadata_bytes: int = 0
    is_jpeg: bool = False


@dataclass(frozen=True, slots=True)
class _Tag:
    """An entry of a directory.

    Attributes:
        kind: number of its type.
        count: number of values.
        at: offset of the values in the file.
    """

    kind: int
    count: int
    at: int


@dataclass(frozen=True, slots=True)
class _Layout:
    """Number format of a file: its byte order, in the notation of struct, and whether it is a BigTIFF."""

    order: str
    is_big: bool


def read_tiff(data: bytes) -> Tiff:
    """The declarations of a TIFF file. Truncated data is left to the decoder.

    Raises:
        TooLarge: more tags, numbers, tiles or strips than are accepted.
        InvalidInput: its directory is ambiguous.
    """
    if data[:4] == b"MM\x00+":  # Pillow reads it as a TIFF and libtiff as a BigTIFF
        raise InvalidInput("a TIFF of 64-bit offsets in big-endian order is not accepted; send it in little-endian")
    layout = _Layout("<" if data[:2] == b"II" else ">", is_big=data[2:3] == b"+")
    at = _number(data, 8, "Q", layout) if layout.is_big else _number(data, 4, "I", layout)
    tags = _directory(data, at, layout, is_image=True)
    for tag in (_EXIF, _GPS):
        inner = _directory(data, _value(data, tags, tag, layout, 0), layout)
        if tag == _EXIF:
            _directory(data, _value(data, inner, _INTEROPERABILITY, layout, 0), layout)
    return _image(data, tags, layout)


def check_exif(exif: bytes) -> None:
    """Refuse EXIF that costs more to read than that of any camera.

    Raises:
        TooLarge: more tags or numbers than are accepted.
    """
    match = _EXIF_HEAD.match(exif)
    data = exif[match.end() :] if match else exif
    layout = _Layout("<" if data[:2] == b"II" else ">", is_big=False)
    _directory(data, _number(data, 4, "I", layout), layout)


def _image(data: bytes, tags: Mapping[int, _Tag], layout: _Layout) -> Tiff:
    def value(tag: int, default: int) -> int:
        return _value(data, tags, tag, layout, default)

    width, height = value(_WIDTH, 0), value(_HEIGHT, 0)
    if value(_DEPTH, 1) != 1 or value(_TILE_DEPTH, 1) != 1:
        raise InvalidInput("a TIFF of three dimensions is not accepted; send one plane")
    if width <= 0 or height <= 0:
        return Tiff()
    if _TILE_WIDTH in tags or _TILE_HEIGHT in tags:
        across, down = value(_TILE_WIDTH, width), value(_TILE_HEIGHT, height)
    else:
        across, down = width, min(value(_ROWS_PER_STRIP, height), height)
    if across <= 0 or down <= 0:
        raise InvalidInput(f"a TIFF has tiles or strips of {across}x{down} pixels; at least 1x1 is expected")
    blocks = -(-width // across) * -(-height // down)
    planes = max(1, value(_SAMPLES, 1)) if value(_PLANAR, 1) == 2 else 1
    listed = [tags[tag].count for tag in (*_OFFSETS, *_BYTE_COUNTS) if tag in tags]
    if (most := max(blocks * planes, *listed, 0)) > MOST_BLOCKS:
        raise TooLarge(f"a TIFF has {most} tiles or strips; at most {MOST_BLOCKS} are accepted")
    compression = value(_COMPRESSION, 1)
    if compression != 1:
        _check_byte_counts(data, tags, layout, blocks * planes)
    is_tiled = _TILE_WIDTH in tags or _TILE_HEIGHT in tags
    return Tiff(
        width,
        height,
        block_pixels=across * down,
        coded_pixels=blocks * across * down if is_tiled else width * height,
        metadata_bytes=sum(_nbytes(tag) for tag in tags.values() if _nbytes(tag) <= len(data)),
        is_jpeg=compression in _JPEG,
    )


def _check_byte_counts(data: bytes, tags: Mapping[int, _Tag], layout: _Layout, blocks: int) -> None:
    """Refuse a file that lists the same bytes many times: each listing is decoded."""
    counts = [tags[tag] for tag in _BYTE_COUNTS if tag in tags]
    if not counts and blocks > 1:
        raise InvalidInput("a compressed TIFF has no byte counts of its tiles or strips; tag 279 or 325 is expected")
    for tag in counts:
        if tag.kind not in _INTEGERS or tag.at + _nbytes(tag) > len(data):
            continue  # libtiff refuses it
        listed = np.frombuffer(data, layout.order + _INTEGERS[tag.kind], tag.count, tag.at)
        nbytes = float(np.minimum(listed.astype(np.float64), len(data)).sum())
        if nbytes > MOST_TIMES_CODED * len(data):
            raise TooLarge(
                f"the tiles or strips of a TIFF have {nbytes:.0f} bytes and the file {len(data)}; at most "
                f"{MOST_TIMES_CODED} times as many are accepted"
            )


def _directory(data: bytes, at: int, layout: _Layout, *, is_image: bool = False) -> Mapping[int, _Tag]:
    """The tags of the directory at that offset; empty without one. An image's directory must have each tag once."""
    if not 0 < at < len(data):
        return {}
    number, form, inline = ("Q", "HHQQ", 8) if layout.is_big else ("H", "HHII", 4)
    entry = struct.Struct(layout.order + form)
    first = at + struct.calcsize(layout.order + number)
    entries = min(_number(data, at, number, layout), (len(data) - first) // entry.size)
    if entries > MOST_TAGS:
        raise TooLarge(f"a TIFF or EXIF directory has {entries} tags; at most {MOST_TAGS} are accepted")
    tags: dict[int, _Tag] = {}
    seen: set[int] = set()
    numbers = fractions = 0
    for here in range(first, first + entries * entry.size, entry.size):
        code, kind, count, where = entry.unpack_from(data, here)
        if is_image and code in _ONCE and code in seen:  # Pillow and libtiff may use different ones
            raise InvalidInput(f"a TIFF directory has tag {code} twice; once is expected")
        seen.add(code)
        if kind not in _BYTES:
            continue
        tag = _Tag(kind, count, here + entry.size - inline if count * _BYTES[kind] <= inline else where)
        tags.setdefault(code, tag)
        if kind not in _OPAQUE and _nbytes(tag) <= len(data):
            numbers += count
            fractions += count if kind in _FRACTIONS else 0
    if numbers > MOST_NUMBERS or fractions > MOST_FRACTIONS:
        raise TooLarge(
            f"a TIFF or EXIF directory has {numbers} numbers, {fractions} of them fractions; at most {MOST_NUMBERS} "
            f"and {MOST_FRACTIONS} are accepted"
        )
    return tags


def _nbytes(tag: _Tag) -> int:
    return tag.count * _BYTES[tag.kind]


def _value(data: bytes, tags: Mapping[int, _Tag], code: int, layout: _Layout, default: int) -> int:
    """The first number of a tag; the default if it has no number."""
    tag = tags.get(code)
    if tag is None or tag.count == 0 or tag.kind not in _INTEGERS or tag.at + _BYTES[tag.kind] > len(data):
        return default
    return int(np.frombuffer(data, layout.order + _INTEGERS[tag.kind], 1, tag.at)[0])


def _number(data: bytes, at: int, form: str, layout: _Layout) -> int:
    """The number at that offset; 0 beyond the end."""
    if at + struct.calcsize(layout.order + form) > len(data):
        return 0
    number: int = struct.unpack_from(layout.order + form, data, at)[0]
    return number
