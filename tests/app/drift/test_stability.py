"""The population stability index against values computed by hand and by simulation."""

import numpy as np
import pytest

from app.drift.stability import LEAST_ROWS, stability_index


def test_many_rows_give_the_textbook_value():
    expected, served = np.array([0.5, 0.5]), np.array([0.8, 0.2])
    by_hand = 0.3 * np.log(0.8 / 0.5) - 0.3 * np.log(0.2 / 0.5)
    assert stability_index(expected, 10**9, served * 1e9) == pytest.approx(by_hand, rel=1e-6)


def test_equal_shares_give_zero():
    assert stability_index(np.array([0.25, 0.75]), 400, np.array([100.0, 300.0])) == pytest.approx(0, abs=1e-12)


def test_a_bin_that_is_empty_on_either_side_gives_a_finite_value():
    low, high = np.array([1.0, 0.0]), np.array([0.0, 500.0])
    assert 5 < stability_index(low, 5000, high) < 50


def test_without_a_drift_the_fewest_rows_stay_below_the_threshold_of_the_alert():
    rng = np.random.default_rng(0)
    shares = rng.dirichlet(np.ones(20))
    scores = [
        stability_index(rng.multinomial(5000, shares) / 5000, 5000, rng.multinomial(LEAST_ROWS, shares).astype(float))
        for _ in range(2000)
    ]
    assert np.mean(scores) == pytest.approx(19 * (1 / LEAST_ROWS + 1 / 5000), rel=0.15)
    assert max(scores) < 0.2
