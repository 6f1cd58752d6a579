"""How much the answers of two versions differ."""

import numpy as np
import pytest

from app.rollout.comparison import DISTANCES, Comparison


def compared(*distances):
    seen = Comparison()
    for each in distances:
        stable, canary = np.zeros((1, 2), np.float32), np.array([[0.0, each]], np.float32)
        seen.add({"scores": stable}, {"scores": canary}, "scores")
    return seen


def test_distances_are_counted_by_interval_and_a_bound_belongs_to_the_one_below():
    seen = compared(0.0, 0.5, 0.75, 7.0)
    counts = dict(zip([*DISTANCES, "beyond"], seen.distances, strict=True))
    assert {bound: count for bound, count in counts.items() if count} == {1e-6: 1, 0.5: 1, 1.0: 1, "beyond": 1}


def test_percentiles_are_interpolated_within_their_bucket():
    exact = np.random.default_rng(0).uniform(0, 1, 1000)
    seen = compared(*exact)
    for share, width in ((0.03, 0.03), (0.5, 0.3), (0.99, 0.5)):
        assert seen.distance_at(share) == pytest.approx(np.quantile(exact, share), abs=width)
    assert seen.distance_at(1.0) == seen.distance_max
    assert [Comparison().distance_at(share) for share in (0.0, 0.5, 1.0)] == [0.0, 0.0, 0.0]


def test_no_percentile_is_beyond_the_largest_distance():
    seen = compared(0.51, 0.51, 0.51)
    assert seen.distance_at(0.99) == seen.distance_max
    assert compared(3.0, 5.0).distance_at(0.5) == 5.0  # beyond the intervals only the largest is known


def test_a_request_counts_in_one_comparison_only():
    one, other = compared(0.5), Comparison()
    other.merge(one)
    other.merge(one)
    assert (sum(one.distances), sum(other.distances)) == (1, 2)
