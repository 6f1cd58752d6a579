"""Every bfloat16 becomes a float32 and back without a change; other numbers are rounded as ml_dtypes rounds them."""

import ml_dtypes
import numpy as np

from app.contract.bfloat16 import LARGEST, STEP, narrowed, widened

EVERY = np.arange(2**16).astype(np.uint16)


def test_every_bit_pattern_survives_both_ways():
    values = widened(EVERY)
    assert values.dtype == np.float32
    assert np.array_equal(narrowed(values), EVERY)
    assert np.array_equal(values, EVERY.view(ml_dtypes.bfloat16).astype(np.float32), equal_nan=True)


def test_other_numbers_are_rounded_to_the_nearest():
    bits = np.random.default_rng(5).integers(0, 2**32, 200_000, np.uint32)
    ties = (EVERY.astype(np.uint32) << 16) | 0x8000
    values = np.concatenate([bits, ties, ties - 1, ties + 1]).view(np.float32)
    values = values[~np.isnan(values)]
    assert np.array_equal(narrowed(values), values.astype(ml_dtypes.bfloat16).view(np.uint16))


def test_a_nan_stays_one_whichever_bits_it_has():
    values = np.array([0x7F800001, 0xFF800001, 0x7FFFFFFF, 0xFFFFFFFF], np.uint32).view(np.float32)
    assert np.isnan(widened(narrowed(values))).all()


def test_shapes_are_kept():
    values = np.ones((2, 3), np.float32)
    for given in (values, values.T, values[:, ::2], values[0, 0], values[:0]):
        assert narrowed(np.asarray(given)).shape == np.shape(given)


def test_the_constants_are_those_of_the_format():
    info = ml_dtypes.finfo(ml_dtypes.bfloat16)
    assert (float(info.max), float(info.eps)) == (LARGEST, STEP)
