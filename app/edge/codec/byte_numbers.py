"""Whole numbers from 0 to 255 in JSON, read from many arrays at once, without looking at one number after another.

Arrays that a client prints from images of one size differ only in their digits. What is left without the digits is the
same for all of them, and so are the places in it where numbers stand. If each array has these characters, and one to
three digits without a leading zero at each of these places and nowhere else, then each is JSON with that nesting. All
of this is compared for all arrays together, in NumPy.
"""

import re
from functools import lru_cache

import numpy as np

from app.types import Array

_NUMBER = re.compile(rb"[0-9]+")
_READABLE = re.compile(rb"\[[\[\], \t\r\n0-9]+\]")
_ZERO = ord("0")
_LARGEST = 255


class ByteNumbers:
    """Arrays with the same characters between their numbers.

    Args:
        layout: one of them, JSON, with 0 for each number.

    Attributes:
        count: numbers of an array.
    """

    def __init__(self, layout: bytes) -> None:
        text = np.frombuffer(layout, np.uint8)
        between = np.flatnonzero(text != _ZERO)
        self._between = text[between]
        self._follows = np.diff(between, prepend=-1) > 1
        self._shortest = len(layout)
        self.count = int(self._follows.sum())

    def may_read(self, text: bytes) -> bool:
        """Whether a text begins and ends with a bracket, and has a possible length."""
        return text[:1] == b"[" and text[-1:] == b"]" and 0 <= len(text) - self._shortest <= 2 * self.count

    def read(self, texts: list[bytes]) -> Array:
        """The numbers of texts that ``may_read`` accepts, uint8 (texts, count).

        Raises:
            ValueError: one of the texts has other characters between its numbers, or numbers that are negative, not
                whole, or more than 255, or is not JSON; which one is not said.
        """
        shape = len(texts), len(self._between)
        text = np.frombuffer(b"".join(texts), np.uint8)
        digits = text - np.uint8(_ZERO)
        is_digit = digits < 10
        between = np.flatnonzero(~is_digit)
        if len(between) != shape[0] * shape[1] or (text.take(between).reshape(shape) != self._between).any():
            raise ValueError("other characters between the numbers")
        before = between - 1  # of the first bracket, -1: the last bracket, which is not a digit either
        if (is_digit.take(before).reshape(shape) != self._follows).any():
            raise ValueError("a number is missing, or is where none was")
        second = is_digit[1:] & is_digit[:-1]
        third = second[1:] & second[:-1]
        digits *= is_digit
        leading_zeros = ((digits[:-1] == 0) & second)[1:] > is_digit[:-2]
        if (third[1:] & third[:-1]).any() or leading_zeros.any():
            raise ValueError("a number has more than three digits, or begins with 0")
        values = digits.astype(np.uint16)
        values[1:] += digits[:-1] * np.uint8(10)
        values[2:] += digits[:-2] * is_digit[1:-1] * np.uint16(100)
        numbers = values.take(before).reshape(shape).compress(self._follows, axis=1)
        if numbers.max() > _LARGEST:
            raise ValueError(f"a number exceeds {_LARGEST}")
        return numbers.astype(np.uint8)


def byte_numbers(text: bytes) -> ByteNumbers | None:
    """Reads arrays like ``text``, which is JSON; None if there is anything but whole numbers and brackets in it."""
    return _of_layout(_NUMBER.sub(b"0", text)) if _READABLE.fullmatch(text) else None


@lru_cache(maxsize=64)
def _of_layout(layout: bytes) -> ByteNumbers:
    return ByteNumbers(layout)
