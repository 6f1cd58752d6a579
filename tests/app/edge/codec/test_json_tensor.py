"""The fast reading of JSON tensors agrees with the slow one and with numpy."""

import json
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.edge.codec.json_tensor import JsonReader
from app.edge.codec.json_values import slow_tensor
from app.errors import InvalidInput

reader = JsonReader(fallback_limit_bytes=10**6)
numbers = st.one_of(st.integers(-(2**53), 2**53), st.floats(allow_nan=False, allow_infinity=False))
values = st.recursive(
    st.one_of(numbers, st.none(), st.booleans(), st.text(max_size=3)), lambda v: st.lists(v, max_size=4)
)
shapes = st.lists(st.integers(1, 4), min_size=1, max_size=4)


def read(document: bytes):
    parsed = reader.read(document)
    return parsed.tensor(parsed.get("x"), "x")


def outcome(function):
    try:
        tensor = function()
        return None if tensor is None else (tensor.shape, tensor.astype(np.float64).tobytes())
    except InvalidInput as error:
        return str(error)


@given(shapes, st.data())
@settings(max_examples=200, deadline=None)
def test_a_rectangular_array_is_returned_unchanged(shape, data):
    flat = data.draw(st.lists(numbers, min_size=int(np.prod(shape)), max_size=int(np.prod(shape))))
    array = np.array(flat, np.float64).reshape(shape)
    np.testing.assert_array_equal(read(json.dumps({"x": array.tolist()}).encode()), array)


@given(st.lists(values, max_size=4), st.text(alphabet="[]{}a", max_size=5))
@settings(max_examples=500, deadline=None)
def test_any_array_gives_the_same_outcome_fast_and_slow(value, other):
    document = json.dumps({"other": other, "x": value}).encode()
    assert outcome(lambda: read(document)) == outcome(lambda: slow_tensor(value, "x"))
    alone = json.dumps({"x": value}).encode()
    for _ in range(2):  # the second time its nesting is cached
        assert outcome(lambda: read(alone)) == outcome(lambda: slow_tensor(value, "x"))


@pytest.mark.parametrize(
    "texts",
    [
        ['{"x": [1, 2, 3]}', '{"x": [1, 2]}', '{"x": [123]}', '{"x": [-1.5e3, 0, 1E+2]}'],
        ['{"x": [[1, 2], [3, 4]]}', '{"x": [[1], [2], [3], [4]]}', '{"x": [[[1, 2, 3, 4]]]}'],
        ['{"x": [1], "x1": [[1]]}', '{"x1": [1], "x": [[1]]}'],
        ['{"x": [1, 2]}', '{"x": [true, 2]}', '{"x": [tru, 2]}', '{"x": ["1", 2]}', '{"x": [1 2]}', '{"x": [1, 2}'],
        ['{"x": [[1], []]}', '{"x": [[], [1]]}', '{"x": [[], []]}', '{"x": []}'],
    ],
)
def test_documents_that_differ_in_little_do_not_get_each_other_s_shape(texts):
    for text in texts * 3:
        try:
            value = json.loads(text)["x"]
        except ValueError:
            with pytest.raises(InvalidInput, match="JSON Parse error"):
                read(text.encode())
            continue
        assert outcome(partial(read, text.encode())) == outcome(partial(slow_tensor, value, "x"))


@pytest.mark.parametrize("text", ["[[1,2],[3,[4]]]", "[[1,2],[[3],4]]", "[1,[2]]", "[[1],2]"])
def test_mixed_depths_are_refused_although_the_count_fits(text):
    with pytest.raises(InvalidInput, match="expected a number"):
        read(b'{"x": ' + text.encode() + b"}")


def test_brackets_in_a_string_do_not_confuse_the_count():
    np.testing.assert_array_equal(read(b'{"s": "[[[", "x": [[1, 2]]}'), [[1, 2]])


def test_a_document_kept_alive_does_not_block_the_next():
    first = reader.read(b'{"x": [1]}')
    kept = first.get("x")
    np.testing.assert_array_equal(read(b'{"x": [2]}'), [2])
    np.testing.assert_array_equal(first.tensor(kept, "x"), [1])


def test_nan_is_read_only_below_the_fallback_limit():
    small = JsonReader(fallback_limit_bytes=10)
    with pytest.raises(InvalidInput, match="JSON Parse error"):
        small.read(b'{"x": [NaN, 1, 2]}')
    assert np.isnan(read(b'{"x": [NaN]}')).all()
