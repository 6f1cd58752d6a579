"""Modified Kneser-Ney smoothing, worked out by hand for thirty tokens."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.data.trigram import Trigram

TWO = (
    (1, 3, 3, 5, 1, 4, 3, 3, 4, 3, 3, 3, 3, 1, 3, 5, 3, 3, 1),
    (4, 4, 3, 3, 4, 3, 3, 3, 1, 3, 1),
)
VOCABULARY = 6  # 2 and 6 never occur


def trigram(*passages, vocabulary=VOCABULARY) -> Trigram:
    return Trigram([np.array(passage, np.int32) for passage in passages], vocabulary=vocabulary)


def discounts(*, ones, twos, threes, fours) -> tuple[Fraction, Fraction, Fraction]:
    """Chen & Goodman's equation 26, from how many n-grams have counts 1, 2, 3 and 4."""
    y = Fraction(ones, ones + 2 * twos)
    return 1 - 2 * y * Fraction(twos, ones), 2 - 3 * y * Fraction(threes, twos), 3 - 4 * y * Fraction(fours, threes)


# What precedes each token: 5 and 3 precede 1; 1, 3, 4 and 5 precede 3; 1, 3 and 4 precede 4; 3 precedes 5.
# 4 4 at the start of a passage counts as well. Counts of 1, 2, 3 and 4 occur once each.
D1, D2, D3 = discounts(ones=1, twos=1, threes=1, fours=1)
KEPT = (D1 + D2 + 2 * D3) / 10
ANYWHERE = {
    1: (2 - D2) / 10 + KEPT / 6,
    2: KEPT / 6,
    3: (4 - D3) / 10 + KEPT / 6,
    4: (3 - D3) / 10 + KEPT / 6,
    5: (1 - D1) / 10 + KEPT / 6,
    6: KEPT / 6,
}
# What precedes each pair: 3 3 follows 1, 3, 4 and 5; 4 3 after 1, 3 and 4; 3 5 and 3 1 after two tokens each;
# 5 1, 1 4, 3 4, 1 3 and 5 3 after one.
E1, E2, E3 = discounts(ones=5, twos=2, threes=1, fours=1)
KEPT_3 = (E1 + 2 * E2 + E3) / 9  # 3 4 once; 3 5 and 3 1 twice; 3 3 four times
AFTER_3 = {
    1: (2 - E2) / 9 + KEPT_3 * ANYWHERE[1],
    2: KEPT_3 * ANYWHERE[2],
    3: (4 - E3) / 9 + KEPT_3 * ANYWHERE[3],
    4: (1 - E1) / 9 + KEPT_3 * ANYWHERE[4],
    5: (2 - E2) / 9 + KEPT_3 * ANYWHERE[5],
    6: KEPT_3 * ANYWHERE[6],
}
# 4 3 3 occurs four times; 3 3 3 and 3 3 1 three times; 3 3 4, 3 4 3 and 3 1 3 twice; ten others once.
F1, F2, F3 = discounts(ones=10, twos=3, threes=2, fours=1)
KEPT_33 = (F1 + F2 + 2 * F3) / 9  # 3 3 5 once; 3 3 4 twice; 3 3 3 and 3 3 1 three times
AFTER_33 = {
    1: (3 - F3) / 9 + KEPT_33 * AFTER_3[1],
    2: KEPT_33 * AFTER_3[2],
    3: (3 - F3) / 9 + KEPT_33 * AFTER_3[3],
    4: (2 - F2) / 9 + KEPT_33 * AFTER_3[4],
    5: (1 - F1) / 9 + KEPT_33 * AFTER_3[5],
    6: KEPT_33 * AFTER_3[6],
}


def test_the_sums_computed_by_hand_are_1():
    assert [sum(table.values()) for table in (ANYWHERE, AFTER_3, AFTER_33)] == [1, 1, 1]
    assert ANYWHERE[3] == Fraction(14, 45)
    assert AFTER_33[1] == Fraction(5, 36) + Fraction(13, 24) * (Fraction(5, 54) + Fraction(88, 1215))


@pytest.mark.parametrize(
    ("before", "table"),
    [
        ((3, 3), AFTER_33),
        ((1, 2, 3, 3), AFTER_33),  # of a longer past the last two count
        ((3,), AFTER_3),
        ((2, 3), AFTER_3),  # 2 3 never occurs
        ((2,), ANYWHERE),
        ((6, 6), ANYWHERE),
        ((3, 6), ANYWHERE),
        ((), ANYWHERE),
    ],
)
def test_each_token_is_as_probable_as_by_hand(before, table):
    model = trigram(*TWO)
    for token, wanted in table.items():
        assert model.probability(token, before) == pytest.approx(float(wanted), rel=1e-12)  # float64


def test_the_log_loss_is_that_of_every_token_but_the_first_of_each_passage():
    passages = [np.array(tokens, np.int32) for tokens in ((3, 3, 1, 2), (6, 3))]
    steps = [AFTER_3[3], AFTER_33[1], trigram(*TWO).probability(2, (3, 1)), ANYWHERE[3]]
    wanted = -np.mean([np.log(float(step)) for step in steps])
    assert trigram(*TWO).log_loss(passages) == pytest.approx(wanted, rel=1e-12)


def test_a_token_after_another_passage_s_end_is_not_used():
    joined, apart = trigram(TWO[0] + TWO[1]), trigram(*TWO)
    assert joined.probability(4, (3, 1)) > apart.probability(4, (3, 1))
    assert apart.log_loss([np.array([3, 3, 1, 4], np.int32)]) > joined.log_loss([np.array([3, 3, 1, 4], np.int32)])


@settings(deadline=None)
@given(
    st.lists(st.lists(st.integers(1, 7), min_size=1, max_size=30), min_size=1, max_size=5),
    st.lists(st.integers(1, 8), max_size=3),
)
def test_the_probabilities_of_all_tokens_sum_to_1_for_any_passages(passages, before):
    model = trigram(*passages, vocabulary=8)
    probabilities = [model.probability(token, tuple(before)) for token in range(1, 9)]
    assert sum(probabilities) == pytest.approx(1, abs=1e-9)
    assert min(probabilities) > 0


@pytest.mark.parametrize("passages", [(), ((5,),), ((5,), (3,))])
def test_without_counts_every_token_is_equally_likely(passages):
    model = trigram(*passages, vocabulary=4)
    assert [model.probability(token, (1, 2)) for token in (1, 2, 3, 4)] == [0.25] * 4


def test_a_text_that_was_counted_is_foreseen_far_better_than_by_chance():
    words = np.random.default_rng(0).integers(1, 201, (300, 3))  # phrases of three words out of 200
    text = words[np.random.default_rng(1).integers(0, 300, 2000)].ravel().astype(np.int32)
    model = trigram(text, vocabulary=200)
    perplexity = np.exp(model.log_loss([text]))
    # After the first word of a phrase about one and a half phrases are possible, after the last any of 300.
    assert perplexity < 20
    unseen = np.random.default_rng(2).integers(1, 201, 500).astype(np.int32)
    assert np.exp(model.log_loss([unseen])) > 100
