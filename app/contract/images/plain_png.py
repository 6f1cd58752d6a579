"""PNG files of one size that consist of pixels alone, decoded without the objects that any image file needs.

Pillow reads the chunks of a PNG in Python and keeps what they declare; its decoder of the pixels is written in C. For
a small file the former takes three quarters of the time. Of a file of which the first 33 bytes are known, only pixels
are left.
"""

import struct
import zlib
from collections.abc import Iterable

from PIL import Image

from app.errors import InvalidInput

_START = b"\x89PNG\r\n\x1a\n"
_END = b"\x00\x00\x00\x00IEND\xaeB`\x82"
_LENGTH, _CRC = struct.Struct(">I"), 4
_GREY, _RGB = 0, 2


class PlainPng:
    """PNG files of one size, with 8 bits per channel, not interlaced: a header, one chunk of pixels, and the end.

    Args:
        height, width: in pixels.
        channels: 1 for grey, or 3 for RGB.
    """

    def __init__(self, height: int, width: int, channels: int) -> None:
        header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, _GREY if channels == 1 else _RGB, 0, 0, 0)
        chunk = _LENGTH.pack(len(header) - 4) + header + _LENGTH.pack(zlib.crc32(header))
        self._start = _START + chunk
        self._size = width, height
        self._mode = "L" if channels == 1 else "RGB"

    def compressed(self, data: bytes) -> bytes | None:
        """The compressed pixels of a file; None if it is not such a file. Other files may be images, too."""
        at = len(self._start) + _LENGTH.size
        if not (data.startswith(self._start) and data.endswith(_END) and data.startswith(b"IDAT", at)):
            return None
        first, last = at + 4, len(data) - len(_END) - _CRC
        return data[first:last] if _LENGTH.unpack_from(data, at - _LENGTH.size)[0] == last - first else None

    def pixels(self, streams: Iterable[bytes]) -> bytes:
        """The pixels of several files, one after the other: uint8, (files, height, width, channels).

        Args:
            streams: compressed pixels, see ``compressed``. As for Pillow, rows that are missing at the end are black.

        Raises:
            InvalidInput: one of them is damaged; which one is not said.
        """
        try:  # each in an image of its own: the decoder leaves what a stream lacks as it was
            return b"".join(
                [Image.frombytes(self._mode, self._size, stream, "zip", self._mode).tobytes() for stream in streams]
            )
        except (ValueError, OSError) as error:
            raise InvalidInput(f"image is truncated or damaged: {error}") from error
