"""A tensor of a recorded instance is read back as it was."""

import json

import numpy as np
import pytest

from app.contract.recordings.tensors import MOST_VALUES, from_json, to_json
from app.contract.strings import string_array

NUMBERS = (
    "bool",
    "uint8",
    "uint16",
    "uint32",
    "uint64",
    "int8",
    "int16",
    "int32",
    "int64",
    "float16",
    "float32",
    "float64",
)


def round_trip(values):
    return from_json(json.loads(json.dumps(to_json(values))))


@pytest.mark.parametrize("dtype", NUMBERS)
@pytest.mark.parametrize("shape", [(), (1,), (3, 2), (MOST_VALUES + 1,), (9, 8, 3)])
def test_numbers_of_each_dtype_and_shape(dtype, shape):
    random = np.random.default_rng(1).bytes(int(np.prod(shape)) * np.dtype(dtype).itemsize)
    values = np.frombuffer(random, dtype).reshape(shape) if dtype != "bool" else np.ones(shape, np.bool_)
    read = round_trip(values)
    assert read.dtype == values.dtype
    assert read.shape == values.shape
    assert read.tobytes() == values.tobytes()


def test_few_numbers_are_readable_and_many_are_base64():
    assert to_json(np.array([[1, 2], [3, 4]], np.int32)) == {"dtype": "int32", "shape": [2, 2], "values": [1, 2, 3, 4]}
    assert to_json(np.zeros(MOST_VALUES, np.uint8)).keys() == {"dtype", "shape", "values"}
    assert to_json(np.zeros(MOST_VALUES + 1, np.uint8)).keys() == {"dtype", "shape", "b64"}


def test_numbers_that_json_does_not_have_and_views():
    for values in (np.array([np.nan, np.inf, -np.inf, -0.0], np.float32), np.arange(20.0).reshape(4, 5).T[::2]):
        np.testing.assert_array_equal(round_trip(values), values)
    big_endian = np.arange(100, dtype=">i4")
    np.testing.assert_array_equal(round_trip(big_endian), big_endian)


def test_strings_and_texts():
    values = string_array([b"", b"text \xc3\xa4", b"\xff\x00", b"x" * 200], (2, 2))
    assert round_trip(values).tolist() == values.tolist()
    assert from_json({"text": "Moving and funny."}) == "Moving and funny."


@pytest.mark.parametrize(
    "document",
    [
        {"dtype": "object", "shape": [1], "values": [1]},
        {"dtype": "uint8", "shape": [3], "values": [1]},
        {"dtype": "uint8", "shape": [3], "b64": "AA=="},
        {"dtype": "uint8", "shape": [1], "b64": "?"},
        {"dtype": "no such", "shape": [1], "values": [1]},
        {"shape": [1]},
    ],
)
def test_other_documents_are_refused(document):
    with pytest.raises((ValueError, KeyError, TypeError)):
        from_json(document)
