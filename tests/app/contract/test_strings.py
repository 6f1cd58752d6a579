"""Strings with their lengths in front, as in raw tensor contents and in files of Triton's model_warmup."""

import pytest

from app.contract.strings import length_prefixed, split_prefixed

TEXTS = [b"two", b"", b"\xff\x00", bytes(300)]


def test_strings_are_restored_from_their_bytes():
    data = length_prefixed(TEXTS)
    assert data[:7] == b"\x03\x00\x00\x00two"
    assert split_prefixed(data, most=4) == (TEXTS, len(data))
    assert split_prefixed(memoryview(data), most=4) == (TEXTS, len(data))


def test_bytes_after_the_last_string_are_ignored():
    data = length_prefixed(TEXTS[:2])
    assert split_prefixed(data + b"\xff", most=2) == (TEXTS[:2], len(data))


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (
            b"\x01\x00\x00\x00a\x01\x00",
            "element 1 ends within its length; each element starts with its length, 4 bytes, little-endian",
        ),
        (b"hello", "element 0 states the length 1819043176, but 1 byte follows; each element starts with"),
        (
            b"\x03\x00\x00\x00ab",
            "element 0 states the length 3, but 2 bytes follow; each element starts with its length, 4 bytes",
        ),
    ],
)
def test_a_string_beyond_the_end_is_refused(data, error):
    with pytest.raises(ValueError, match=error):
        split_prefixed(data, most=2)
