"""Histograms of numbers for baseline.json."""

import numpy as np
import pytest

from training.data.deciles import decile_histogram


def test_bins_have_a_tenth_of_the_values_each():
    found = decile_histogram(np.random.default_rng(0).lognormal(size=1000))
    assert len(found["edges"]) == 11
    assert found["shares"] == pytest.approx([0.1] * 10, abs=0.002)


def test_a_frequent_value_has_its_whole_share():
    found = decile_histogram(np.array([0.0] * 60 + list(range(1, 41))))
    assert found["edges"][:2] == [0, 1] or found["edges"][0] == 0
    assert found["shares"][0] >= 0.6
    assert sum(found["shares"]) == pytest.approx(1)


def test_a_constant_is_one_bin():
    low, high = decile_histogram(np.full(5, 7.0))["edges"]
    assert low == 7 < high
    assert decile_histogram(np.full(5, 7.0))["shares"] == [1]
