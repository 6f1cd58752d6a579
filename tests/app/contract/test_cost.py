"""No step from bytes to instances costs more than linearly in what it is given."""

import pytest

from app.contract import tokenizer
from tests.support.cost import least_seconds

SMALL, TIMES = 8_000, 4
# Four times the input costs four times as much if the cost is linear, and sixteen times if it is quadratic.
MOST = 2.0 * TIMES

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
def test_splitting_a_text_costs_linearly_in_its_length(pattern, more, scheme):
    def split(length):
        text = (pattern * length)[:length] + more
        return least_seconds(lambda: tokenizer.split_tokens(text, scheme), runs=7)

    assert split(SMALL * TIMES) < MOST * split(SMALL)
