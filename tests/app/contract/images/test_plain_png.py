"""Plain PNGs: the same pixels as any other image file, or left to Pillow."""

import io
import random
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from app.contract.images.image_file import open_image
from app.contract.images.plain_png import PlainPng
from app.errors import InvalidInput, ServingError

HEIGHT, WIDTH = 5, 7
MODES = {1: "L", 3: "RGB"}


def random_image(rng, mode="L", size=(WIDTH, HEIGHT)):
    """Smooth or noisy, so that encoders choose different filters."""
    values = np.frombuffer(rng.randbytes(size[0] * size[1] * len(mode)), np.uint8).reshape(size[1], size[0], -1)
    if rng.random() < 0.5:
        values = np.cumsum(values % 3, axis=rng.randrange(2)).astype(np.uint8).reshape(values.shape)
    return Image.fromarray(values.squeeze(), "L" if mode == "L" else "RGB")


def encoded(image, **options):
    file = io.BytesIO()
    image.save(file, format="PNG", **options)
    return file.getvalue()


def assembled(pixels, channels, *, filters, level=6, tail=b""):
    """A PNG whose rows have these filters: 0 none, 1 from the left, 2 from above; others as if they were meant."""
    rows = b"".join(bytes([kind]) + row.tobytes() for kind, row in zip(filters, pixels, strict=True))
    header = struct.pack(">IIBBBBB", WIDTH, HEIGHT, 8, 0 if channels == 1 else 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(rows, level) + tail), (b"IEND", b"")]
    framed = [
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(framed)


def pixels_of(data):
    """The pixels by the way of any image file."""
    return np.asarray(open_image(data, longest_edge=max(HEIGHT, WIDTH)).decode())


@pytest.mark.parametrize("channels", [1, 3])
def test_the_pixels_are_those_of_any_image_file(channels):
    rng, plain = random.Random(channels), PlainPng(HEIGHT, WIDTH, channels)
    files = [
        encoded(random_image(rng, MODES[channels]), compress_level=rng.randrange(10), optimize=rng.random() < 0.3)
        for _ in range(40)
    ]
    raw = [np.frombuffer(rng.randbytes(WIDTH * HEIGHT * channels), np.uint8).reshape(HEIGHT, -1) for _ in range(40)]
    files += [assembled(each, channels, filters=rng.choices(range(5), k=HEIGHT)) for each in raw]
    compressed = [plain.compressed(file) for file in files]
    assert None not in compressed
    found = np.frombuffer(plain.pixels(compressed), np.uint8).reshape(len(files), HEIGHT, WIDTH, channels)
    for file, pixels in zip(files, found, strict=True):
        assert (pixels.squeeze() == pixels_of(file)).all()


def test_other_images_are_not_plain():
    rng, plain = random.Random(0), PlainPng(HEIGHT, WIDTH, 1)
    grey = random_image(rng)
    text = PngImagePlugin.PngInfo()
    text.add_text("Comment", "x")
    others = [
        encoded(grey.convert("RGB")),
        encoded(grey.convert("LA")),
        encoded(grey.convert("P")),
        encoded(grey.convert("1")),
        encoded(grey.convert("I;16")),
        encoded(grey.resize((HEIGHT, WIDTH))),
        encoded(grey, transparency=7),
        encoded(grey, pnginfo=text),
        encoded(grey, exif=Image.Exif()) + b"x",
        encoded(grey) + b"x",
        encoded(grey)[:-1],
        encoded(grey)[:33],
        b"\x89PNG\r\n\x1a\n",
        b"",
    ]
    file = io.BytesIO()
    grey.save(file, format="JPEG")
    assert [plain.compressed(each) for each in [*others, file.getvalue()]] == [None] * (len(others) + 1)


@pytest.mark.parametrize("seed", range(4))
def test_a_damaged_file_is_refused_or_has_the_pixels_that_any_image_file_has(seed):
    rng, refused, answered = random.Random(seed), 0, 0
    plain = PlainPng(HEIGHT, WIDTH, 1)
    for _ in range(1_000):
        pixels = np.frombuffer(rng.randbytes(WIDTH * HEIGHT), np.uint8).reshape(HEIGHT, WIDTH)
        rows = pixels[: rng.choice([HEIGHT, HEIGHT, HEIGHT - 1])]
        if rng.random() < 0.2:
            rows = np.concatenate([pixels, pixels])
        filters = [rng.choice([0, 1, 2, 3, 4, 5, 255]) if rng.random() < 0.2 else rng.randrange(5) for _ in rows]
        tail = rng.randbytes(rng.choice([0, 0, 3, 200]))
        data = bytearray(assembled(rows, 1, filters=filters, level=rng.randrange(10), tail=tail))
        for _ in range(rng.choice([0, 1, 2])):
            data[rng.randrange(len(data))] = rng.randrange(256)
        compressed = plain.compressed(bytes(data))
        if compressed is None:
            continue
        try:
            found = np.frombuffer(plain.pixels([compressed]), np.uint8).reshape(HEIGHT, WIDTH)
        except InvalidInput:
            refused += 1
            with pytest.raises(ServingError):
                pixels_of(bytes(data))
        else:
            answered += 1
            assert (found == pixels_of(bytes(data))).all()
    assert refused > 100
    assert answered > 100


def test_what_a_stream_lacks_is_black_whatever_was_decoded_before():
    rng, plain = random.Random(1), PlainPng(HEIGHT, WIDTH, 1)
    full, short = rng.randbytes(WIDTH * HEIGHT), bytes([7]) * WIDTH
    rows = [np.frombuffer(data, np.uint8).reshape(-1, WIDTH) for data in (full, short)]
    files = [assembled(each, 1, filters=[0] * len(each)) for each in rows]
    streams = [plain.compressed(file) for file in files]
    together = np.frombuffer(plain.pixels(streams), np.uint8).reshape(2, HEIGHT, WIDTH)
    for file, pixels in zip(files, together, strict=True):
        assert (pixels == pixels_of(file)).all()
    assert not together[1, 1:].any()
