"""Image files that cost more than their pixels: refused by their structure, or counted against the memory budget."""

import struct
import zlib

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from app.contract.images.image_file import DEFAULT_PIXEL_LIMIT, open_image
from app.contract.images.image_headers import MOST_SCANS, read_declared
from app.errors import InvalidInput, TooLarge
from tests.support import hostile_images as hostile
from tests.support.cost import decoding, time_ratio
from tests.support.images import encode

MEGABYTE = 1_000_000
# The memory of a process that imports and decodes varies by this much from run to run.
SLACK_BYTES = 12 * MEGABYTE
LONG_SEGMENT = hostile.segment(0xE1, b"Exif\0\0" + bytes(60_000))

# The file, and a part of the error message.
REFUSED = {
    "a TIFF tile of two gigapixels": (lambda: hostile.tile(65536, 32720), "a tile has 2144337920 pixels"),
    "TIFF tiles far beyond the image": (
        lambda: hostile.tile(4000, 4000, size=(5000, 5000)),
        "the tiles have 64000000 pixels",
    ),
    "a TIFF tile of 64-bit directories": (
        lambda: hostile.tiff(hostile.grey_tags((64, 64), 8, (322, 4, 1, 65536), (323, 16, 1, 65536)), is_big=True),
        "a tile has 4294967296 pixels",
    ),
    "a TIFF in big-endian order": (
        lambda: hostile.tiff(hostile.grey_tags((64, 64), 8, (322, 4, 1, 65536), (323, 4, 1, 65536)), order=">"),
        "a tile has 4294967296 pixels",
    ),
    "a TIFF whose tile width is there twice": (
        lambda: hostile.tiff(hostile.grey_tags((64, 64), 8, (322, 4, 1, 64), (322, 4, 1, 65536), (323, 4, 1, 64))),
        "tag 322 twice",
    ),
    "a TIFF of tiles of one pixel": (
        lambda: hostile.tiff(hostile.grey_tags((5000, 5000), 8, (322, 4, 1, 1), (323, 4, 1, 1))),
        "has 25000000 tiles or strips",
    ),
    "a TIFF of many strips": (
        lambda: hostile.strips(100_000, bytes(8), size=(8, 65535), compression=1),
        "has 100000 tiles or strips",
    ),
    "a TIFF that lists a strip again and again": (
        lambda: hostile.strips(2000, bytes(MEGABYTE), size=(8, 2000), compression=32773),
        "the tiles or strips of a TIFF have 2000000000 bytes",
    ),
    "a TIFF that does not say how long its strips are": (
        lambda: hostile.strips(2000, bytes(MEGABYTE), size=(8, 2000), compression=32773, listed=False),
        "no byte counts",
    ),
    "a TIFF of a JPEG of many scans": (
        lambda: hostile.jpeg_strip(hostile.scans(60, size=(5000, 5000)), (5000, 5000)),
        "scans of a JPEG",
    ),
    "a TIFF of three dimensions": (
        lambda: hostile.tiff(hostile.grey_tags((64, 64), 8, (32997, 4, 1, 1 << 30))),
        "three dimensions",
    ),
    "a BigTIFF of 800,000 tags": (
        lambda: hostile.tiff([(60000, 99, 1, 0)] * 800_000, is_big=True),
        "has 800000 tags",
    ),
    "a TIFF of two million fractions": (lambda: hostile.fractions_below(500_000), "500000 of them fractions"),
    "a JPEG of 12,000 scans": (lambda: hostile.scans(12_000, size=(5000, 5000)), "more than 100 scans"),
    "a large JPEG of 60 scans": (lambda: hostile.scans(60, size=(5000, 5000)), "scans of a JPEG go over"),
    "a JPEG whose scans hide behind an end": (
        lambda: hostile.scans(200, between=hostile.segment(0xFE, b"\xff\xd9")),
        "more than 100 scans",
    ),
    "a JPEG whose scans hide in a segment that is none": (
        lambda: hostile.scans(200, between=b"\xff\x02\xff\xff"),
        "more than 100 scans",
    ),
    "a JPEG of a million comments": (
        lambda: hostile.jpeg(hostile.segment(0xFE) * MEGABYTE),
        "more than 1024 segments",
    ),
    "a JPEG of padding": (lambda: hostile.jpeg(b"\xff" * 10 * MEGABYTE), "bytes between its segments"),
    "a JPEG of EXIF that is joined segment by segment": (
        lambda: hostile.jpeg(LONG_SEGMENT * 200),
        "more than 16 segments of EXIF",
    ),
    "a GIF that enlarges its canvas": (
        lambda: hostile.gif(frame=(65535, 40000), dispose=2),
        "image has 65535x40000 pixels",
    ),
    "a GIF that enlarges its canvas after an empty extension": (
        lambda: hostile.gif(b"\x21\x01\x00\x01,\x00", frame=(65535, 40000), dispose=2),
        "image has 65535x40000 pixels",
    ),
    "a GIF of comments of one byte": (
        lambda: hostile.gif(b"\x21\xfe\x01a\x00" * 3 * MEGABYTE),
        "more than 65536 blocks",
    ),
    "a GIF of one comment of short blocks": (
        lambda: hostile.gif(b"\x21\xfe" + b"\x01a" * 7 * MEGABYTE + b"\x00"),
        "more than 65536 blocks",
    ),
    "a GIF of filling": (lambda: hostile.gif(bytes(15 * MEGABYTE)), "more than 65536 blocks"),
    "a PNG of unknown chunks": (lambda: hostile.png(hostile.png_chunk(b"abCd") * MEGABYTE), "more than 1024 chunks"),
    "a PNG of texts": (
        lambda: hostile.png(hostile.png_chunk(b"tEXt", b"a\0b") * MEGABYTE),
        "more than 1024 chunks",
    ),
    "a PNG of empty chunks of pixels": (
        lambda: hostile.png(hostile.png_chunk(b"IDAT") * MEGABYTE),
        "more than 65536 chunks of pixels",
    ),
    "a PNG of profiles that inflate": (lambda: hostile.png(hostile.profile() * 900), "more than 16 compressed"),
    "a PNG of 65,535 EXIF tags": (
        lambda: hostile.png(hostile.png_chunk(b"eXIf", hostile.many_tags(65_535))),
        "has 65535 tags",
    ),
    "a PNG of four million orientations": (
        lambda: hostile.png(hostile.png_chunk(b"eXIf", hostile.directory_of(4, 4 * MEGABYTE))),
        "has 4000000 numbers",
    ),
    "a PNG of 25 million columns": (
        lambda: hostile.png(size=(25_000_000, 1)),
        "an edge of at most 65535 pixels",
    ),
    "a PNG of 25 million rows": (lambda: hostile.png(size=(1, 25_000_000)), "an edge of at most 65535 pixels"),
    "a WebP of two million chunks": (
        lambda: hostile.webp(b"abcd\0\0\0\0" * 2 * MEGABYTE),
        "more than 65536 chunks",
    ),
    "a WebP of a large canvas": (lambda: hostile.webp(canvas=(16383, 16383)), "image has 16383x16383 pixels"),
    "a large BMP of run lengths": (
        lambda: hostile.run_lengths((5000, 5000), b"\1a\0\0" * 5000),
        "a BMP of run lengths has 25000000 pixels",
    ),
    "a long BMP of run lengths": (
        lambda: hostile.run_lengths((60, 60), b"\1a" * 8 * MEGABYTE),
        "in 16001078 bytes",
    ),
}


@pytest.mark.parametrize(("build", "said"), REFUSED.values(), ids=REFUSED)
def test_it_is_refused_without_much_memory_or_time(build, said):
    cost = decoding(build())
    assert cost.outcome.startswith(("TooLarge: ", "InvalidInput: "))
    assert said in cost.outcome
    assert cost.peak_bytes < 2 * SLACK_BYTES + cost.asked_bytes
    assert cost.seconds < 1.0  # most took 3 to 60 s, refusing them takes 0.1 s at most


def deep_rows(width, height):
    return (b"\0" + b"\1\2" * 4 * width) * height


ROOM = {
    "a TIFF tile as large as the largest image": lambda: hostile.tile(5000, 5000),
    "a JPEG of a scan for each channel": lambda: hostile.one_scan_a_channel((5000, 5000)),
    "a progressive JPEG of four channels": lambda: encode(Image.new("CMYK", (5000, 4900)), "JPEG", progressive=True),
    "the widest PNG": lambda: hostile.png(size=(65535, 381), bits=16, colour=6, rows=deep_rows(65535, 381)),
    "the highest PNG": lambda: hostile.png(size=(381, 65535), bits=16, colour=6, rows=deep_rows(381, 65535)),
    "a PNG of sixteen profiles": lambda: hostile.png(hostile.profile() * 16),
    "a GIF comment of many megabytes": lambda: hostile.gif(b"\x21\xfe" + (b"\xff" + b"a" * 255) * 60_000 + b"\0"),
    "JPEG metadata of many megabytes": lambda: hostile.jpeg(hostile.segment(0xE2, bytes(60_000)) * 200),
    "PNG metadata of many megabytes": lambda: hostile.png(hostile.png_chunk(b"teXt", bytes(12 * MEGABYTE))),
    "PNG EXIF of many megabytes": lambda: hostile.png(
        hostile.png_chunk(b"eXIf", hostile.many_tags(9) + bytes(12 * MEGABYTE))
    ),
    "TIFF metadata of many megabytes": lambda: encode(
        hostile.PLAIN, "TIFF", tiffinfo={700: bytes(12 * MEGABYTE), 34675: bytes(MEGABYTE)}
    ),
    "a WebP that is animated": lambda: hostile.animated("WEBP", 2, size=(3000, 2000)),
}


@pytest.mark.parametrize("build", ROOM.values(), ids=ROOM)
def test_decoding_uses_no_more_memory_than_it_reserves(build):
    cost = decoding(build())
    assert cost.asked_bytes, cost.outcome
    assert cost.peak_bytes < cost.asked_bytes + SLACK_BYTES
    assert cost.seconds < 10.0


@pytest.mark.parametrize("form", ["GIF", "WEBP", "PNG", "TIFF"])
def test_decoding_time_does_not_grow_with_the_number_of_frames(form):
    one, many = (hostile.animated(form, frames) for frames in (2, 60))
    assert len(many) > 20 * len(one)
    assert time_ratio(lambda: open_image(many).decode(), lambda: open_image(one).decode(), below=5.0) < 5.0


def test_scans_at_the_bound_are_decoded():
    data = hostile.scans(MOST_SCANS - 6)
    assert read_declared(data).scans <= MOST_SCANS
    assert open_image(data).decode().size == (64, 64)


def test_bytes_after_a_jpeg_are_not_a_scan_of_it():
    data = encode(Image.effect_noise((200, 100), 50).convert("RGB"), "JPEG", progressive=True)
    scans = read_declared(data).scans
    assert read_declared(data + b"\xff\xda" * 5000).scans == scans < 16
    assert open_image(data + b"\xff\xda" * 5000).decode().size == (200, 100)


def test_scans_are_counted_across_windows(monkeypatch):
    data = hostile.scans(40, size=(640, 480))
    expected = read_declared(data).scans
    monkeypatch.setattr("app.contract.images.image_headers._WINDOW_BYTES", 2)
    assert read_declared(data).scans == expected > 40


def test_a_larger_limit_allows_more_scans():
    data = hostile.scans(15, size=(2000, 2000))
    with pytest.raises(TooLarge, match="fewer scans"):
        open_image(data, pixel_limit=4_000_000)
    assert open_image(data, pixel_limit=DEFAULT_PIXEL_LIMIT)


def camera_exif():
    exif = Image.Exif()
    exif[0x0112], exif[0x010F], exif[0x011A] = 6, "maker", 72.0
    exif.get_ifd(0x8769).update({0x829A: 0.01, 0x9003: "2026:11:28 00:00:00"})
    exif.get_ifd(0x8825).update({1: "N", 2: (52.0, 31.0, 12.5)})
    return exif


def described():
    info = PngImagePlugin.PngInfo()
    for index in range(40):
        info.add_text(f"key {index}", "text")
    info.add_itxt("XML:com.adobe.xmp", "<x/>" * 1000, zip=True)
    return info


NOISE = Image.effect_noise((300, 200), 60)
ORDINARY = {
    "PNG with texts and a profile": lambda: encode(NOISE, "PNG", pnginfo=described(), icc_profile=bytes(5000)),
    "PNG with EXIF": lambda: encode(NOISE, "PNG", exif=camera_exif()),
    "JPEG with EXIF, profile and comment": lambda: encode(
        NOISE, "JPEG", exif=camera_exif(), icc_profile=bytes(200_000), comment=b"a comment"
    ),
    "WebP with EXIF": lambda: encode(NOISE.convert("RGB"), "WEBP", exif=camera_exif(), icc_profile=bytes(5000)),
    "TIFF with EXIF": lambda: encode(NOISE, "TIFF", exif=camera_exif(), compression="tiff_lzw"),
    "TIFF with 64-bit offsets": lambda: encode(NOISE, "TIFF", big_tiff=True),
    "TIFF of many strips": lambda: encode(NOISE, "TIFF", compression="tiff_deflate", strip_size=300),
    "TIFF of JPEG strips": lambda: encode(NOISE, "TIFF", compression="jpeg", strip_size=4800),
    "TIFF for fax": lambda: encode(NOISE.convert("1"), "TIFF", compression="group4"),
    "GIF with a comment": lambda: encode(NOISE, "GIF", comment=b"a comment" * 99),
    "BMP": lambda: encode(NOISE.convert("RGB"), "BMP"),
    "BMP of run lengths": lambda: hostile.run_lengths((300, 200), b"\xff\1\x2d\1\0\0" * 200),
}


@pytest.mark.parametrize("build", ORDINARY.values(), ids=ORDINARY)
def test_ordinary_files_are_decoded(build):
    assert sorted(open_image(build()).decode().size) == [200, 300]


def test_tiles_are_decoded():
    data = hostile.tile(128, 128, size=(100, 120))
    assert np.asarray(open_image(data).decode()).tolist() == np.zeros((120, 100)).tolist()


@pytest.mark.parametrize("build", ORDINARY.values(), ids=ORDINARY)
def test_a_file_that_is_cut_anywhere_is_read_without_other_errors(build):
    data = build()
    for length in [*range(min(600, len(data))), *range(600, len(data), max(1, len(data) // 200))]:
        try:
            read_declared(data[:length])
        except InvalidInput:
            continue


def test_the_declared_structure_of_an_ordinary_photograph_is_correct():
    declared = read_declared(encode(NOISE.convert("RGB"), "JPEG", progressive=True))
    assert (declared.scans, declared.is_held_whole) == (10, True)
    assert read_declared(encode(NOISE.convert("RGB"), "JPEG")).is_held_whole is False
    assert read_declared(struct.pack("<I", zlib.crc32(b""))).scans == 1
