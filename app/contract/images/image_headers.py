"""Declarations in the structure of an image file, read before Pillow opens it: canvas, scans, blocks, metadata.

Pillow creates an object for each part of a header, allocates some canvases when it opens a file, and decodes all scans
of a file. The limits here are far above what any real program writes. A scan over the bytes stops at the first broken
limit. Truncated or invalid data is left to the decoder.
"""

import re
import struct
from dataclasses import dataclass

from app.contract.images.tiff_headers import read_tiff
from app.errors import TooLarge

# PNG chunks, GIF sub-blocks, WebP chunks, bytes of padding between JPEG segments: each costs about a microsecond.
MOST_PARTS = 65_536
# PNG chunks other than pixels, JPEG segments before the first scan.
MOST_METADATA_PARTS = 1_024
# Compressed PNG chunks, each at most a mebibyte inflated; JPEG segments of EXIF, which Pillow joins one by one.
MOST_INFLATED, MOST_EXIF_SEGMENTS = 16, 16
# A progressive JPEG has about ten scans.
MOST_SCANS = 100
# Pillow decodes run-length BMPs in Python, at a tenth of the speed of other formats.
MOST_RUN_LENGTH_PIXELS = MOST_RUN_LENGTH_BYTES = 4_000_000

_INFLATED_BYTES = 1_048_576
_INFLATES = {b"iCCP", b"zTXt", b"iTXt"}
_PNG_CHUNK, _WEBP_CHUNK = struct.Struct(">I4s"), struct.Struct("<4sI")
# Scans are counted exactly only above this number; in windows of this size, since a search holds the interpreter lock.
_FEW_SCANS, _WINDOW_BYTES = 16, 262_144
_START_OF_SCAN = b"\xff\xda"
# Not 00 and RST, which belong to the scan, and not FF, which is padding.
_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
_NO_FRAME, _PROGRESSIVE = {0xC4, 0xC8, 0xCC}, {0xC2, 0xC6, 0xCA, 0xCE}
_GIF_EXTENSION, _GIF_FRAME, _GIF_END = 0x21, 0x2C, 0x3B
_TIFF_MAGIC = (b"II*\x00", b"MM\x00*", b"II\x00*", b"MM*\x00", b"II+\x00", b"MM\x00+")


@dataclass(frozen=True, slots=True)
class Declared:
    """The declarations of a file.

    Attributes:
        width: of the canvas; 0 if the canvas costs nothing before Pillow reports it.
        height: as width.
        metadata_bytes: bytes other than pixels, inflated.
        scans: number of times that the decoder processes ``scanned_pixels``.
        scanned_pixels: 0 means the whole image.
        is_held_whole: a JPEG whose coefficients stay in memory until its last scan.
        block_pixels: of a tile or strip, which is decoded as a whole.
        coded_pixels: of all tiles together, which may extend beyond the image.
    """

    width: int = 0
    height: int = 0
    metadata_bytes: int = 0
    scans: int = 1
    scanned_pixels: int = 0
    is_held_whole: bool = False
    block_pixels: int = 0
    coded_pixels: int = 0


NOTHING = Declared()


def read_declared(data: bytes) -> Declared:
    """The declarations of an image file; an empty result if it is not an image.

    Raises:
        TooLarge: it has more parts than are accepted.
        InvalidInput: its structure is ambiguous.
    """
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return _png(data)
    if data.startswith(b"\xff\xd8\xff"):
        return _jpeg(data)
    if data.startswith((b"GIF87a", b"GIF89a")):
        return _gif(data)
    if data.startswith(b"RIFF"):
        return _webp(data)
    if data.startswith(b"BM"):
        return _bmp(data)
    if data.startswith(_TIFF_MAGIC):
        tiff = read_tiff(data)
        scans = data.count(_START_OF_SCAN) if tiff.is_jpeg else 1
        return Declared(
            tiff.width,
            tiff.height,
            metadata_bytes=tiff.metadata_bytes,
            scans=scans,
            scanned_pixels=tiff.block_pixels,
            block_pixels=tiff.block_pixels,
            coded_pixels=tiff.coded_pixels,
        )
    return NOTHING


def _png(data: bytes) -> Declared:
    at, last, pixels, others, inflating, nbytes = 8, len(data) - 8, 0, 0, 0, 0
    while at <= last:
        length, kind = _PNG_CHUNK.unpack_from(data, at)
        at += length + 12
        if kind in {b"IDAT", b"fdAT"}:
            pixels += 1
            if pixels > MOST_PARTS:
                raise TooLarge(f"a PNG has more than {MOST_PARTS} chunks of pixels; write larger ones")
            continue
        if kind == b"IEND":
            break
        others += 1
        nbytes += length
        if others > MOST_METADATA_PARTS:
            raise TooLarge(f"a PNG has more than {MOST_METADATA_PARTS} chunks that are not pixels; remove its metadata")
        if kind in _INFLATES:
            inflating += 1
            nbytes += _INFLATED_BYTES
            if inflating > MOST_INFLATED:
                raise TooLarge(f"a PNG has more than {MOST_INFLATED} compressed texts or profiles; remove its metadata")
    if others <= 1:  # only the header
        return NOTHING
    return Declared(metadata_bytes=min(nbytes, len(data) + inflating * _INFLATED_BYTES))


def _gif(data: bytes) -> Declared:
    """Read up to the first frame, as Pillow does: a frame beyond the canvas enlarges it."""
    if len(data) < 13:
        return NOTHING
    width, height, flags = struct.unpack_from("<HHB", data, 6)
    start = at = 13 + (6 << (flags & 7) if flags & 0x80 else 0)
    parts = 0
    while at < len(data) and data[at] != _GIF_END and parts <= MOST_PARTS:
        parts += 1
        if data[at] == _GIF_FRAME:
            if at + 9 <= len(data):
                left, top, across, down = struct.unpack_from("<HHHH", data, at + 1)
                width, height = max(width, left + across), max(height, top + down)
            return Declared(width, height, metadata_bytes=at - start)
        if data[at] == _GIF_EXTENSION:
            # Pillow continues after the first block of an extension, and after the second of this one, even if it is
            # empty.
            is_comment, repeats = data.startswith(b"\xfe", at + 1), data.startswith(b"NETSCAPE2.0", at + 3)
            at += 2
            for _ in range(0 if is_comment else 1 + repeats):
                at = _after_block(data, at)
            while at < len(data) and data[at] and parts <= MOST_PARTS:
                parts += 1
                at = _after_block(data, at)
        at += 1
    if parts > MOST_PARTS:
        raise TooLarge(f"a GIF has more than {MOST_PARTS} blocks before its first frame; remove its comments")
    return Declared(width, height, metadata_bytes=len(data))


def _after_block(data: bytes, at: int) -> int:
    return at + 1 + data[at] if at < len(data) else at


def _webp(data: bytes) -> Declared:
    at, last, parts, nbytes = 12, len(data) - 8, 0, 0
    while at <= last:
        kind, length = _WEBP_CHUNK.unpack_from(data, at)
        at += 8 + length + length % 2
        parts += 1
        if parts > MOST_PARTS:
            raise TooLarge(f"a WebP has more than {MOST_PARTS} chunks; send only its first frame")
        if kind in {b"ICCP", b"EXIF", b"XMP "}:
            nbytes += length
    width = height = 0
    if data[12:16] == b"VP8X" and len(data) >= 30:
        width, height = (1 + int.from_bytes(data[place : place + 3], "little") for place in (24, 27))
    return Declared(width, height, metadata_bytes=min(nbytes, len(data)))


def _bmp(data: bytes) -> Declared:
    if len(data) >= 34 and struct.unpack_from("<I", data, 14)[0] >= 40:
        width, height, _, _, compression = struct.unpack_from("<IiHHI", data, 18)
        pixels = width * abs(height)
        if compression in {1, 2} and (pixels > MOST_RUN_LENGTH_PIXELS or len(data) > MOST_RUN_LENGTH_BYTES):
            raise TooLarge(
                f"a BMP of run lengths has {pixels} pixels in {len(data)} bytes; at most {MOST_RUN_LENGTH_PIXELS} "
                f"in {MOST_RUN_LENGTH_BYTES} are accepted; send a PNG"
            )
    return NOTHING


def _jpeg(data: bytes) -> Declared:
    """Read segments up to the first scan, as Pillow does; then count the scans, if there may be several."""
    at, segments, exif, padding, components, is_progressive = 2, 0, 0, 0, 0, False
    while (start := data.find(b"\xff", at)) >= 0:
        run = data[start : start + MOST_PARTS + 2]
        marker_at = start + len(run) - len(run.lstrip(b"\xff"))
        padding += marker_at - 1 - at
        if padding > MOST_PARTS:
            raise TooLarge(f"a JPEG has more than {MOST_PARTS} bytes between its segments; encode it again")
        at = marker_at + 1
        if marker_at + 3 > len(data):
            break
        marker = data[marker_at]
        segments += 1
        if segments > MOST_METADATA_PARTS:
            raise TooLarge(
                f"a JPEG has more than {MOST_METADATA_PARTS} segments before its pixels; remove its metadata"
            )
        if marker < 0xC0 or marker == 0xC8 or 0xD0 <= marker <= 0xD9 or 0xF0 <= marker <= 0xFD:
            continue  # no length follows, for Pillow
        at += max(2, int.from_bytes(data[at : at + 2]))
        if marker == 0xDA:
            in_scan = data[marker_at + 3] if marker_at + 3 < len(data) else 0
            is_held_whole = is_progressive or in_scan < components
            scans = _scans(data, at) if is_held_whole else 1
            return Declared(metadata_bytes=at, scans=scans, is_held_whole=is_held_whole)
        if marker == 0xE1 and data.startswith(b"Exif\x00\x00", marker_at + 3):
            exif += 1
            if exif > MOST_EXIF_SEGMENTS:
                raise TooLarge(f"a JPEG has more than {MOST_EXIF_SEGMENTS} segments of EXIF; remove its metadata")
        elif (0xC0 <= marker <= 0xCF and marker not in _NO_FRAME) or marker == 0xDE:
            components = data[marker_at + 8] if marker_at + 8 < len(data) else 0
            is_progressive = marker in _PROGRESSIVE
    return Declared(metadata_bytes=len(data))


def _scans(data: bytes, at: int) -> int:
    """Number of scans of a JPEG from that offset on; at least as many as libjpeg decodes, counted up to the limit."""
    most = 1 + data.count(_START_OF_SCAN, at)
    if most <= _FEW_SCANS:
        return most
    scans = 1
    while at < len(data) and scans <= MOST_SCANS:
        match = _MARKER.search(data, at, at + _WINDOW_BYTES)
        if match is None:
            at += _WINDOW_BYTES - 1  # a marker may cross the end of the window
            continue
        at = match.end()
        marker = data[at - 1]
        if marker == 0xD9:
            break
        scans += marker == 0xDA
        if marker >= 0xC0 and marker != 0xD8:
            at += max(2, int.from_bytes(data[at : at + 2]))
    return scans
