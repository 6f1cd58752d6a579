"""Requests of many rows, cut into batches and joined again."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.batching.rules import BatchRules
from app.contract.tokenizer import pad
from app.serving.split import split


def rules(size, buckets=()):
    return BatchRules(max_batch_size=size, inline_below_s=0, length_buckets=tuple(buckets))


def texts(lengths, *, width=None):
    return pad([np.full(length, row + 1, np.int32) for row, length in enumerate(lengths)], length=width)


def test_rows_of_one_shape_are_cut_in_order():
    values = np.arange(10, dtype=np.float32).reshape(5, 2)
    parts = split({"x": values}, sequence=None, rules=rules(2)).parts
    assert [part.inputs["x"][:, 0].tolist() for part in parts] == [[0, 2], [4, 6], [8]]


def test_padding_that_the_client_sent_is_cut_off():
    request = split({"ids": texts([3, 5], width=40)}, sequence="ids", rules=rules(8))
    assert [part.inputs["ids"].shape for part in request.parts] == [(2, 5)]
    assert request.parts[0].length == 5


def test_a_long_text_does_not_make_short_ones_pay():
    request = split({"ids": texts([200, 5, 190, 7])}, sequence="ids", rules=rules(8, (8, 64, 256)))
    assert [part.inputs["ids"].shape for part in request.parts] == [(2, 7), (2, 200)]


@settings(deadline=None, max_examples=200)
@given(
    lengths=st.lists(st.integers(1, 60), min_size=1, max_size=40),
    size=st.integers(1, 9),
    buckets=st.lists(st.integers(1, 60), max_size=6, unique=True).map(sorted),
    surplus=st.integers(0, 5),
)
def test_every_row_is_returned_at_its_position(lengths, size, buckets, surplus):
    ids = texts(lengths, width=max(lengths) + surplus)
    request = split({"ids": ids}, sequence="ids", rules=rules(size, buckets))
    answers = []
    for part in request.parts:
        rows = part.inputs["ids"]
        assert len(rows) <= size
        assert rows.shape[1] == part.length == (rows != 0).sum(axis=1).max()
        assert rows.flags.c_contiguous
        limits = {next((limit for limit in buckets if limit >= n), None) for n in (rows != 0).sum(axis=1)}
        assert len(limits) == 1
        answers.append({"row": rows[:, 0], "length": (rows != 0).sum(axis=1)})
    joined = request.join(answers)
    assert joined["row"].tolist() == [row + 1 for row in range(len(lengths))]
    assert joined["length"].tolist() == lengths


@pytest.mark.parametrize("rows", [1, 8, 9, 100])
def test_no_row_is_lost_or_doubled(rows):
    values = np.arange(rows, dtype=np.float32)[:, None]
    request = split({"x": values}, sequence=None, rules=rules(8))
    joined = request.join([{"y": part.inputs["x"]} for part in request.parts])
    assert joined["y"].tolist() == values.tolist()
