"""What an exact copy of a network may differ by, from what one unit in the last place of its weights changes."""

import numpy as np
import pytest

from training.export.rounding import LARGEST_FACTOR, rounding_factor


@pytest.fixture
def sums():
    """A network that adds 64 numbers, and a runner for it."""
    import tf_keras

    model = tf_keras.Sequential([tf_keras.Input((64,)), tf_keras.layers.Dense(1, kernel_initializer="ones")])
    return model, lambda inputs: {"y": model(inputs["x"]).numpy()}


def test_small_sums_keep_the_tolerance(sums):
    model, keras = sums
    assert rounding_factor(model, keras, {"x": np.full((3, 64), 1 / 64, np.float32)}, tolerance=1e-5) == 1


@pytest.mark.parametrize(("size", "least", "most"), [(4e3, 3, 60), (1e9, LARGEST_FACTOR, LARGEST_FACTOR)])
def test_large_terms_that_cancel_may_differ_by_more_up_to_a_bound(sums, size, least, most):
    model, keras = sums
    terms = np.tile(np.float32([size, -size]), 32)[None]  # the sum is 0, the rounding is that of the terms
    assert least <= rounding_factor(model, keras, {"x": terms}, tolerance=1e-3) <= most


def test_the_network_has_its_weights_afterwards_even_if_a_run_fails(sums):
    model, keras = sums
    before = [values.copy() for values in model.get_weights()]
    calls = iter(range(9))

    def fails(inputs):
        if next(calls):
            raise RuntimeError
        return keras(inputs)

    with pytest.raises(RuntimeError):
        rounding_factor(model, fails, {"x": np.ones((1, 64), np.float32)}, tolerance=1e-5)
    for values, expected in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(values, expected)


def test_random_answers_are_not_taken_for_rounding(sums):
    model, keras = sums
    noise = np.random.default_rng(1)
    factor = rounding_factor(
        model,
        lambda inputs: {"y": keras(inputs)["y"] + noise.random((1, 1), np.float32)},
        {"x": np.ones((1, 64), np.float32)},
        tolerance=1e-5,
    )
    assert factor == 1
