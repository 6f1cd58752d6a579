"""The verdict on a series of samples: what counts as growth, and what does not."""

import numpy as np
import pytest

from benchmarks.soak.leak import MOST_POINTS, measure_growth
from benchmarks.soak.run import Plan, growth_of, least_of_windows
from benchmarks.soak.service import Size

HOURS = np.linspace(0, 0.5, 600)
NOISE = np.random.default_rng(3).normal(0, 2, 600)


def growth(values, *, after=0.0, limit=5.0):
    return measure_growth(HOURS, values, after=after, limit=limit)


def test_a_steady_leak_is_found_through_noise():
    found = growth(300 + 40 * HOURS + NOISE)
    assert found.leaks
    assert found.slope == pytest.approx(40, abs=2)
    assert found.least_squares == pytest.approx(40, abs=2)
    assert found.last - found.first == pytest.approx(18, abs=2)


def test_noise_alone_is_not_a_leak():
    found = growth(300 + NOISE)
    assert not found.leaks
    assert abs(found.slope) < 2


def test_shrinking_memory_is_not_a_leak():
    assert not growth(300 - 40 * HOURS).leaks


def test_warm_up_does_not_count():
    values = 300 + 100 * np.minimum(HOURS, 0.3)
    assert growth(values).leaks
    assert not growth(values, after=0.3).leaks


def test_outliers_move_the_usual_slope_and_not_this_one():
    values = np.full(600, 300.0)
    values[-60:-30] += 400
    found = growth(values)
    assert found.least_squares > 100
    assert found.slope == 0
    assert not found.leaks


def test_a_leak_behind_a_saw_tooth_is_found_by_the_least_of_each_window():
    places, least = least_of_windows(HOURS, 300 + 20 * HOURS + np.arange(600) % 20, 0.5 / 30)
    assert len(least) == 31
    assert measure_growth(places, least, after=0, limit=5).slope == pytest.approx(20, abs=1)


def test_many_samples_are_averaged_first():
    at = np.linspace(0, 1, 5 * MOST_POINTS + 3)
    assert measure_growth(at, 7 * at, after=0, limit=5).slope == pytest.approx(7)


def test_samples_of_the_same_moment_give_no_slope():
    assert measure_growth([0, 0, 1, 1, 2], [1, 5, 2, 6, 3], after=0, limit=5).slope == 1


def test_few_samples_are_refused():
    with pytest.raises(ValueError, match=r"2 samples after the warm-up of 0\.499; at least 5 are needed"):
        growth(HOURS, after=0.499)


def test_samples_without_a_place_are_refused():
    with pytest.raises(ValueError, match="600 places for 3 samples"):
        growth([1, 2, 3])


@pytest.mark.parametrize("figure", ["resident_mb", "proportional_mb", "descriptors", "threads"])
def test_each_figure_of_the_service_is_judged(figure):
    plan = Plan(seconds=1800, warm_up_s=600)
    flat = {"resident_mb": 300.0, "proportional_mb": 280.0, "descriptors": 30, "threads": 20}
    at_s = np.arange(0, 1800, 3.0)
    sizes = [Size(**(flat | {figure: flat[figure] + int(each / 60)})) for each in at_s]
    leaks = [name for name, one in growth_of(at_s, sizes, plan).items() if one.leaks]
    assert leaks == [figure]
