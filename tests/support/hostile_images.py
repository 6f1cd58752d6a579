"""Small image files that are costly to decode."""

import io
import struct
import zlib

from PIL import Image

from tests.support.images import encode

PLAIN = Image.new("L", (64, 64), 128)


def png_chunk(kind, content=b""):
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(*chunks, size=(64, 64), bits=8, colour=0, rows=None):
    """A PNG with these chunks between its header and its pixels."""
    header = struct.pack(">IIBBBBB", *size, bits, colour, 0, 0, 0)
    pixels = zlib.compress(bytes(65 * 64) if rows is None else rows, 1)
    parts = [png_chunk(b"IHDR", header), *chunks, png_chunk(b"IDAT", pixels), png_chunk(b"IEND")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def profile():
    """An iCCP chunk that inflates to almost a mebibyte and has no end: Pillow continues after it."""
    return png_chunk(b"iCCP", b"a\0\0" + zlib.compress(bytes(1 << 20), 9)[:-1])


def gif(blocks=b"", *, frame=(64, 64), dispose=0):
    """A grey GIF of 64x64 pixels with these blocks before its frame."""
    whole = encode(PLAIN, "GIF")
    at = whole.index(b",")
    control = b"\x21\xf9\x04" + bytes([dispose << 2]) + b"\0\0\0\0"
    return whole[:at] + control + blocks + b"," + struct.pack("<HHHH", 0, 0, *frame) + whole[at + 9 :]


def segment(marker, content=b""):
    return b"\xff" + bytes([marker]) + struct.pack(">H", len(content) + 2) + content


def jpeg(between=b""):
    """A JPEG with these bytes before its first segment."""
    whole = encode(PLAIN, "JPEG")
    return whole[:2] + between + whole[2:]


def scans(count, *, size=(64, 64), between=b""):
    """A progressive grey JPEG whose last scan is repeated ``count`` times."""
    whole = encode(Image.new("L", size, 128), "JPEG", progressive=True, quality=10)
    last = whole.rindex(b"\xff\xda")
    return whole[:-2] + (between + whole[last:-2]) * count + b"\xff\xd9"


def one_scan_a_channel(size):
    """A JPEG that is not progressive and is still buffered completely: a scan for each of three channels."""
    grey = encode(Image.new("L", size, 100), "JPEG", quality=10)
    frame = grey.index(b"\xff\xc0")
    after = frame + 2 + int.from_bytes(grey[frame + 2 : frame + 4])
    scan = grey.index(b"\xff\xda")
    channels = b"".join(bytes([channel, 0x11, 0]) for channel in (1, 2, 3))
    header = segment(0xC0, struct.pack(">BHHB", 8, size[1], size[0], 3) + channels)
    entropy = grey[scan + 10 : -2]
    pixels = b"".join(segment(0xDA, bytes([1, channel, 0, 0, 63, 0])) + entropy for channel in (1, 2, 3))
    return grey[:frame] + header + grey[after:scan] + pixels + b"\xff\xd9"


def tiff(tags, *, after=b"", order="<", is_big=False):
    """A TIFF of those (tag, type, count, value or offset); ``after`` follows its directory at ``directory_end``."""
    head = (b"II" if order == "<" else b"MM") + struct.pack(order + "H", 43 if is_big else 42)
    if is_big:
        head += struct.pack(order + "HHQQ", 8, 0, 16, len(tags))
        return head + b"".join(struct.pack(order + "HHQQ", *tag) for tag in tags) + bytes(8) + after
    head += struct.pack(order + "IH", 8, len(tags))
    return head + b"".join(struct.pack(order + "HHII", *tag) for tag in tags) + bytes(4) + after


def directory_end(tags):
    return 14 + 12 * tags


def grey_tags(size, compression, *more):
    """Tags of a grey image of 8 bits, in order."""
    tags = [
        *((256, 4, 1, size[0]), (257, 4, 1, size[1]), (258, 3, 1, 8), (259, 3, 1, compression), (262, 3, 1, 1)),
        *((277, 3, 1, 1), *more),
    ]
    return sorted(tags)


def deflated_zeros(size):
    """``size`` zeros as zlib compresses them, from one block that is repeated."""
    block = 16 * 2**20
    count, rest = divmod(size, block)
    squeezer = zlib.compressobj(9, zlib.DEFLATED, -15)
    once = squeezer.compress(bytes(block)) + squeezer.flush(zlib.Z_FULL_FLUSH)
    last = zlib.compressobj(9, zlib.DEFLATED, -15)
    checksum = size % 65521 << 16 | 1  # Adler-32 of zeros: the second sum counts them
    return b"".join(
        (
            b"\x78\xda",
            once * count,
            last.compress(bytes(rest)) + last.flush(),
            checksum.to_bytes(4, "big"),
        )
    )


def tile(width, height, *, size=(64, 64)):
    """A TIFF of one deflated tile of zeros, even for a small image."""
    content = deflated_zeros(width * height)
    tags = grey_tags(
        *(size, 8, (322, 4, 1, width), (323, 4, 1, height)),
        *((324, 4, 1, directory_end(10)), (325, 4, 1, len(content))),
    )
    return tiff(tags, after=content)


def strips(count, content, *, size, compression, listed=True):
    """A TIFF of ``count`` strips of one row, all of them the same bytes."""
    first = directory_end(9 if listed else 8)
    offsets = first + len(content)
    tags = [(273, 4, count, offsets), (278, 4, 1, 1)]
    if listed:
        tags.append((279, 4, count, offsets + 4 * count))
    places, lengths = struct.pack("<I", first) * count, struct.pack("<I", len(content)) * count
    return tiff(grey_tags(size, compression, *tags), after=content + places + (lengths if listed else b""))


def jpeg_strip(content, size):
    """A TIFF of one strip that is a JPEG."""
    tags = ((273, 4, 1, directory_end(9)), (278, 4, 1, size[1]), (279, 4, 1, len(content)))
    return tiff(grey_tags(size, 7, *tags), after=content)


def directory_of(kind, count, *, tag=0x0112):
    """EXIF of one tag with many values."""
    return tiff([(tag, kind, count, directory_end(1))], after=b"\7\0\0\0" * (count if kind == 4 else 2 * count))


def many_tags(count):
    return tiff([(tag, 4, 1, 7) for tag in range(count)])


def fractions_below(count):
    """A TIFF whose EXIF directory has many fractions."""
    tags = ((273, 4, 1, 8), (278, 4, 1, 64), (279, 4, 1, 4096), (34665, 4, 1, directory_end(10)))
    at = directory_end(10) + 18
    inner = struct.pack("<HHHIII", 1, 33434, 5, count, at, 0)
    return tiff(grey_tags((64, 64), 1, *tags), after=inner + struct.pack("<II", 3, 7) * count)


def webp(more=b"", *, canvas=None):
    """A WebP of 64x64 pixels with these chunks after it, and an optional other canvas size."""
    whole = bytearray(encode(PLAIN.convert("RGB"), "WEBP", exif=b"Exif\0\0" + many_tags(1)))
    if canvas is not None:
        whole[24:30] = b"".join((edge - 1).to_bytes(3, "little") for edge in canvas)
    whole[4:8] = struct.pack("<I", len(whole) - 8 + len(more))
    return bytes(whole) + more


def run_lengths(size, content):
    """A BMP of run lengths with 256 colours."""
    at = 54 + 4 * 256
    head = struct.pack("<2sIHHI", b"BM", at + len(content), 0, 0, at)
    info = struct.pack("<IiiHHIIiiII", 40, *size, 1, 8, 1, len(content), 0, 0, 256, 0)
    return head + info + bytes(4) * 256 + content


def animated(form, frames, *, size=(256, 256)):
    """An image of several frames."""
    buffer = io.BytesIO()
    images = [Image.effect_noise(size, 20 + index % 50).convert("RGB") for index in range(frames)]
    images[0].save(buffer, form, save_all=True, append_images=images[1:])
    return buffer.getvalue()
