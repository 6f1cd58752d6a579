"""Every step from bytes to instances takes at most linear time and memory in the size of its input."""

import pytest

from app.contract import tokenizer
from app.contract.images.image_headers import read_declared
from tests.support import hostile_images as hostile
from tests.support.cost import time_ratio

SMALL, TIMES = 4_000, 8
# Eight times the input costs eight times as much if the cost is linear, or twice that if only the smaller one fits into
# the processor's caches next to other work; and 64 times if it is quadratic.
MOST = 3.0 * TIMES

EVIL_TEXTS = {
    "opening brackets": "<",
    "tags without end": "<a ",
    "a tag in each letter": "a<b>",
    "closing brackets": ">",
    "alternating marks": "\u0300\u0316",
    "halfwidth marks": "\uff9e\u0300",
    "marks that are two marks": "\u0344\u0316",
    "marks on letters": "a\u0316\u0300\u0301",
    "apostrophes": "'",
    "apostrophes between letters": "a'",
    "capital sigmas": "Σ'",
    "ligatures of eighteen letters": "\ufdfa",
    "syllables in parts": "\u1100\u1161\u11a8",
    "spaces": " ",
    "wide spaces": "\u3000",
    "line ends": "\r\n",
    "stops": "!?.,;:",
    "digits": "1 ",
    "control characters": "\x00\x1f",
    "emoji with joiners": "\U0001f468\u200d",
}


TEXTS = {
    f"{name}{' among other letters' if more else ''}": (pattern, more)
    for name, pattern in EVIL_TEXTS.items()
    for more in ("", "é")
}


@pytest.mark.parametrize("scheme", ["words", "lines"])
@pytest.mark.parametrize(("pattern", "more"), TEXTS.values(), ids=TEXTS)
def test_splitting_a_text_takes_linear_time_in_its_length(pattern, more, scheme):
    small, large = ((pattern * length)[:length] + more for length in (SMALL, SMALL * TIMES))

    def split(text):
        return lambda: tokenizer.split_tokens(text, scheme)

    assert time_ratio(split(large), split(small), below=MOST) < MOST


# Numbers of parts of a file. Files beyond the limits are refused immediately: each of these stays below.
PARTS = {
    "sub-blocks of a GIF": lambda count: hostile.gif(b"\x21\xfe" + b"\x01a" * count + b"\x00"),
    "filling of a GIF": lambda count: hostile.gif(bytes(count)),
    "chunks of a PNG": lambda count: hostile.png(hostile.png_chunk(b"IDAT") * count),
    "chunks of a WebP": lambda count: hostile.webp(b"abcd\0\0\0\0" * count),
    "bytes of a scan": lambda count: hostile.scans(50) + b"\xff\x00" * 20 * count,
    "restarts in a scan": lambda count: hostile.scans(50)[:-2] + b"\xff\xd0" * 20 * count,
    "megabytes of scans": lambda count: hostile.scans(20, between=hostile.segment(0xFE, bytes(count))),
    "strips of a TIFF": lambda count: hostile.strips(count, bytes(8), size=(8, 32_000), compression=1),
    "numbers of a TIFF": lambda count: hostile.directory_of(4, 8 * count),
}


@pytest.mark.parametrize("build", PARTS.values(), ids=PARTS)
def test_reading_the_structure_of_an_image_takes_linear_time_in_its_parts(build):
    small, large = build(SMALL), build(SMALL * TIMES)
    assert time_ratio(lambda: read_declared(large), lambda: read_declared(small), below=MOST) < MOST
