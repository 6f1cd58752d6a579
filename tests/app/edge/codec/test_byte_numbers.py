"""Arrays of bytes as numbers are read as a JSON parser reads them, or refused."""

import json
from math import prod

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.edge.codec.byte_numbers import byte_numbers

SHAPES = st.sampled_from([(1,), (3,), (1, 1), (2, 3), (3, 2, 2)])
BYTES = st.one_of(st.sampled_from([0, 9, 10, 99, 100, 199, 200, 249, 250, 255]), st.integers(0, 255))
PRINTED = st.sampled_from([{"separators": (",", ":")}, {}, {"indent": 1}])


@st.composite
def arrays(draw):
    shape = draw(SHAPES)
    count = draw(st.integers(1, 5))
    size = count * prod(shape)
    return np.array(draw(st.lists(BYTES, min_size=size, max_size=size))).reshape(count, *shape)


def texts_of(values, printed):
    return [json.dumps(row.tolist(), **printed).encode() for row in values]


@given(arrays(), PRINTED)
def test_numbers_are_those_of_a_json_parser(values, printed):
    texts = texts_of(values, printed)
    numbers = byte_numbers(texts[0])
    assert numbers.count == values[0].size
    assert all(map(numbers.may_read, texts))
    assert numbers.read(texts).tolist() == values.reshape(len(values), -1).tolist()


@given(arrays(), PRINTED, st.data())
def test_a_changed_text_is_read_as_a_json_parser_reads_it_or_refused(values, printed, data):
    """Characters removed, inserted or replaced: what is read anyway has the nesting and the numbers that JSON has."""
    texts = texts_of(values, printed)
    numbers = byte_numbers(texts[0])
    index = data.draw(st.integers(0, len(texts) - 1))
    changed = bytearray(texts[index])
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(changed) - 1))
        changed[at : at + data.draw(st.integers(0, 1))] = data.draw(
            st.sampled_from(
                [b"", b"0", b"1", b"9", b"00", b"255", b"-", b".", b"e", b",", b"[", b"]", b" ", b"\x00", b"\xff"]
            )
        )
        if not changed:
            return
    texts[index] = bytes(changed)
    if not numbers.may_read(texts[index]):
        return
    try:
        read = numbers.read(texts)
    except ValueError:
        return
    expected = np.array([json.loads(text) for text in texts])
    assert expected.shape == values.shape
    assert read.tolist() == expected.reshape(len(values), -1).tolist()


@pytest.mark.parametrize(
    "text",
    [b"[1.0]", b"[-1]", b"[1e2]", b'["1"]', b"[true]", b"[]", b"[[]]", b"1", b'{"a": 1}'],
)
def test_anything_but_whole_numbers_is_left_to_the_json_parser(text):
    numbers = byte_numbers(text)
    assert numbers is None or numbers.count == 0


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (b"[[1,2],[3,256]]", "a number exceeds 255"),
        (b"[[1,2],[3,999]]", "a number exceeds 255"),
        (b"[[1,2],[3,1000]]", "more than three digits"),
        (b"[[1,2],[3,04]]", "begins with 0"),
        (b"[[1,2],[3,000]]", "begins with 0"),
        (b"[[1,2],[3,-4]]", "other characters"),
        (b"[[1,2],[3,4.]]", "other characters"),
        (b"[[1,2],[34  ]]", "other characters"),
        (b"[[1,2],[3,4],]", "other characters"),
        (b"[[1,2]5,[3,]]", "is where none was"),
        (b"[[1,2],5[,3]]", "is where none was"),
        (b"[[1,,2],[344]]", "other characters"),
        (b"[[11,2],[3,]]", "a number is missing"),
    ],
)
def test_what_is_not_such_an_array_is_refused(text, error):
    good = b"[[1,2],[3,4]]"
    numbers = byte_numbers(good)
    for texts in ([text], [good, text], [text, good], [good, text, good]):
        with pytest.raises(ValueError, match=error):
            numbers.read(texts)


@pytest.mark.parametrize(
    "text", [b"", b"[1,2]", b"[[1,2],[3,4]", b" [[1,2],[3,4]]", b"[[1,2],[3,4]]1", b"[[1000,2000],[3000,4]]"]
)
def test_a_text_of_an_impossible_length_or_without_its_brackets_is_not_tried(text):
    assert not byte_numbers(b"[[1,2],[3,4]]").may_read(text)
