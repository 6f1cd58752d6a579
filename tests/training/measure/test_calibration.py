import numpy as np
import pytest

from training.measure.calibration import CALIBRATION_BINS, calibration_error


def answers(rows, *, gap=0.0, seed=0):
    """Confidence, and whether each row is right: as often as the confidence says, minus ``gap``."""
    generator = np.random.default_rng(seed)
    confidence = generator.uniform(0.5, 1, rows)
    return confidence, generator.random(rows) < confidence - gap


def test_bins_have_equally_many_rows_in_the_order_of_confidence():
    confidence, correct = answers(1507)
    bins = calibration_error(confidence, correct).bins
    assert len(bins) == CALIBRATION_BINS == 15
    assert {rows for _, _, rows in bins} == {100, 101}
    assert [mean for mean, _, _ in bins] == sorted(mean for mean, _, _ in bins)


@pytest.mark.parametrize("gap", [0.05, 0.2])
def test_a_known_gap_is_found_and_is_inside_the_interval(gap):
    found = calibration_error(*answers(20_000, gap=gap))
    low, high = found.interval
    assert low < found.value < high
    assert low <= gap <= high
    assert high - low < 0.03  # 20,000 rows of deviation at most 1/2: 1.96 * 0.5 / sqrt(20,000) = 0.007 to each side


def test_the_figure_of_a_perfect_model_is_smaller_than_the_plain_one():
    corrected, plain = [], []
    for seed in range(20):
        found = calibration_error(*answers(1000, seed=seed))
        corrected.append(found.value)
        plain.append(sum(abs(accuracy - mean) * rows for mean, accuracy, rows in found.bins) / 1000)
    assert np.mean(corrected) < 0.75 * np.mean(plain)  # about two fifths of the bias are removed


def test_rows_of_the_same_confidence_share_a_bin_whatever_their_order():
    correct = np.arange(100) < 60
    for order in (correct, correct[::-1]):
        found = calibration_error(np.full(100, 0.9), order)
        assert found.bins == ((pytest.approx(0.9), pytest.approx(0.6), 100),)
        assert found.value == pytest.approx(0.3, abs=0.01)  # the mean of 500 resamples of deviation 0.05


def test_the_same_rows_give_the_same_figures():
    assert calibration_error(*answers(300)) == calibration_error(*answers(300))
    assert calibration_error(*answers(300), seed=1) != calibration_error(*answers(300), seed=2)


def test_one_row_is_enough_for_a_figure():
    found = calibration_error(np.array([0.75]), np.array([True]))
    assert found.value == 0.25
    assert found.interval == (0.25, 0.25)
