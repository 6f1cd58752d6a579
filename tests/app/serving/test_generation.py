"""Sampling of the next token."""

import numpy as np
import pytest

from app.serving.generation import Sampling, draw

# Of ids 1 to 5; id 1 is the unknown token and the likeliest.
PROBABILITIES = np.array([0.5, 0.2, 0.05, 0.15, 0.1], np.float32)


def shares(sampling, draws=20_000):
    random = np.random.default_rng(0)
    counts = np.bincount([draw(PROBABILITIES, sampling, random) for _ in range(draws)], minlength=6)
    return counts[2:] / draws


def test_tokens_are_drawn_by_their_probability_and_the_unknown_one_never():
    # Tolerance: five standard deviations of a share of 20,000 draws.
    np.testing.assert_allclose(shares(Sampling()), [0.4, 0.1, 0.3, 0.2], atol=0.018)


@pytest.mark.parametrize(("temperature", "exponent"), [(0.5, 2.0), (2.0, 0.5)])
def test_temperature_is_an_exponent(temperature, exponent):
    want = PROBABILITIES[1:].astype(float) ** exponent
    np.testing.assert_allclose(shares(Sampling(temperature=temperature)), want / want.sum(), atol=0.018)


def test_top_k_leaves_out_the_others():
    np.testing.assert_allclose(shares(Sampling(top_k=2)), [4 / 7, 0, 3 / 7, 0], atol=0.018)


@pytest.mark.parametrize("top_k", [0, 4, 1000])
def test_a_top_k_of_all_has_no_effect(top_k):
    assert shares(Sampling(top_k=top_k), 1000).tolist() == shares(Sampling(), 1000).tolist()


@pytest.mark.parametrize("temperature", [0, 1e-9, 1e-300, 1e-308, 5e-324])
def test_a_vanishing_temperature_takes_the_likeliest(temperature):
    assert shares(Sampling(temperature=temperature), 50).tolist() == [1, 0, 0, 0]


def test_probabilities_of_zero_are_never_drawn():
    random = np.random.default_rng(1)
    certain = np.array([0, 0, 0, 1, 0], np.float32)
    assert {draw(certain, Sampling(), random) for _ in range(50)} == {4}


@pytest.mark.parametrize("temperature", [0, 5e-324, 1.0, 100.0])
@pytest.mark.parametrize("top_k", [0, 1, 2])
def test_where_only_the_unknown_token_is_likely_a_known_one_is_drawn(temperature, top_k):
    certain = np.array([1, 0, 0, 0, 0], np.float32)
    random = np.random.default_rng(1)
    assert draw(certain, Sampling(temperature=temperature, top_k=top_k), random) in range(2, 6)
