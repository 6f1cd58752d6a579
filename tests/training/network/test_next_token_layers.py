"""The LSTM with dropped weights, and the cache of the text read so far."""

import numpy as np
import pytest

from tests.support.saved_models import tensorflow

IDS = np.array([[3, 5, 3, 2, 3, 0, 0], [4, 0, 0, 0, 0, 0, 0], [2, 2, 2, 2, 2, 2, 2]], np.int32)
WIDTH, UNITS = 6, 4  # columns are ids minus one


@pytest.fixture(scope="module")
def layers():
    tensorflow()
    from training.network import next_token_layers

    return next_token_layers


def tensors(seed=0):
    rng = np.random.default_rng(seed)
    states = rng.normal(size=(*IDS.shape, UNITS)).astype(np.float32)
    last = states[np.arange(len(IDS)), (IDS > 0).sum(axis=1) - 1]
    probabilities = rng.dirichlet(np.ones(WIDTH), len(IDS)).astype(np.float32)
    return states, last, probabilities


def by_hand(states, last, probabilities, *, share, sharpness):
    """Equations 2 and 3 of the source, row by row."""
    answers = []
    for ids, row_states, row_last, row in zip(IDS, states, last, probabilities, strict=True):
        places = [place for place in range(len(ids) - 1) if ids[place + 1] > 0]
        if not places:
            answers.append(row)
            continue
        votes = np.exp([sharpness * row_states[place] @ row_last for place in places])
        cache = np.zeros(WIDTH)
        for place, vote in zip(places, votes / votes.sum(), strict=True):
            cache[ids[place + 1] - 1] += vote
        answers.append((1 - share) * row + share * cache)
    return np.array(answers)


@pytest.mark.parametrize(("share", "sharpness"), [(0.0, 1.0), (0.2, 0.0), (0.3, 2.0)])
def test_the_cache_votes_for_what_followed_similar_places(layers, share, sharpness):
    states, last, probabilities = tensors()
    cache = layers.ContinuousCache(share=share, sharpness=sharpness)
    given = cache([IDS, states, last, probabilities]).numpy()
    np.testing.assert_allclose(given, by_hand(states, last, probabilities, share=share, sharpness=sharpness), atol=1e-6)
    np.testing.assert_allclose(given.sum(axis=1), 1, atol=1e-6)


def test_states_of_padding_have_no_vote(layers):
    states, last, probabilities = tensors()
    cache = layers.ContinuousCache(share=0.5, sharpness=1.0)
    changed = np.where((IDS > 0)[..., None], states, 100).astype(np.float32)
    np.testing.assert_array_equal(cache([IDS, changed, last, probabilities]), cache([IDS, states, last, probabilities]))


def test_a_text_of_one_token_has_no_cache(layers):
    states, last, probabilities = tensors()
    cache = layers.ContinuousCache(share=0.9, sharpness=1.0)
    np.testing.assert_array_equal(cache([IDS, states, last, probabilities])[1], probabilities[1])


def test_weights_are_dropped_in_training_alone_and_the_same_in_all_steps(layers):
    import tf_keras

    lstm = layers.WeightDropLSTM(UNITS, weight_drop=0.5, return_sequences=True)
    plain = tf_keras.layers.LSTM(UNITS, return_sequences=True)
    x = np.random.default_rng(1).normal(size=(2, 5, 3)).astype(np.float32)
    plain.build(x.shape)
    lstm.build(x.shape)
    lstm.set_weights(plain.get_weights())
    np.testing.assert_allclose(lstm(x), plain(x), atol=1e-6)
    dropped = np.asarray(lstm(x, training=True))
    assert np.abs(dropped - np.asarray(plain(x))).max() > 1e-3
    # The first step reads a state of zeros, so no recurrent weight.
    np.testing.assert_allclose(dropped[:, 0], plain(x)[:, 0], atol=1e-6)
    assert [weight.name.split("/")[-1] for weight in lstm.trainable_weights] == [
        weight.name.split("/")[-1] for weight in plain.trainable_weights
    ]
    np.testing.assert_array_equal(lstm.get_weights()[1], plain.get_weights()[1])


def test_a_weight_that_was_dropped_has_no_gradient(layers):
    import tensorflow as tf

    lstm = layers.WeightDropLSTM(UNITS, weight_drop=0.5)
    x = tf.constant(np.random.default_rng(1).normal(size=(2, 5, 3)), tf.float32)
    lstm.build(x.shape)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(lstm(x, training=True) ** 2)
    gradient = tape.gradient(loss, lstm.cell.recurrent_kernel).numpy()
    assert 0.2 < (gradient == 0).mean() < 0.8


@pytest.fixture(scope="module")
def trigram():
    from training.data.trigram import Trigram

    rng = np.random.default_rng(3)
    passages = [rng.choice(np.arange(1, WIDTH + 1), 200, p=[0.4, 0.3, 0.1, 0.1, 0.05, 0.05]) for _ in range(3)]
    return Trigram(passages, vocabulary=WIDTH)


def counted(layers, tables, ids, *, share=1.0):
    probabilities = np.full((len(ids), WIDTH), 1 / WIDTH, np.float32)
    return layers.CountedNgrams(tables, share=share)([ids, probabilities]).numpy()


def test_whole_tables_are_the_trigram_model(layers, trigram):
    ids = np.array([[1, 0, 0], [2, 1, 0], [3, 2, 1], [6, 6, 6], [5, 4, 0]], np.int32)
    given = counted(layers, trigram.tables(context_count=1, count=1), ids)
    for row, answer in zip(ids, given, strict=True):
        before = tuple(int(token) for token in row if token)[-2:]
        expected = [trigram.probability(token, before) for token in range(1, WIDTH + 1)]
        np.testing.assert_allclose(answer, expected, atol=1e-3)  # float16
    np.testing.assert_allclose(given.sum(axis=1), 1, atol=1e-6)


def test_what_is_left_out_of_the_tables_goes_to_shorter_contexts(layers, trigram):
    whole, frequent = trigram.tables(context_count=1, count=1), trigram.tables(context_count=20, count=4)
    assert len(frequent.after_two.keys) < len(whole.after_two.keys)
    assert len(frequent.after_two.tokens) < len(whole.after_two.tokens)
    ids = np.array([[6, 6], [1, 1], [5, 6], [1, 2]], np.int32)
    given = counted(layers, frequent, ids)
    np.testing.assert_allclose(given.sum(axis=1), 1, atol=1e-6)
    assert given.min() > 0


def test_tables_without_entries_say_how_frequent_tokens_are(layers, trigram):
    given = counted(layers, trigram.tables(context_count=10**6, count=10**6), np.array([[1, 2]], np.int32))
    expected = [trigram.probability(token, ()) for token in range(1, WIDTH + 1)]
    np.testing.assert_allclose(given[0], expected, atol=1e-6)


def test_the_share_is_that_of_the_trigram_model(layers, trigram):
    tables, ids = trigram.tables(), np.array([[1, 2, 0], [2, 1, 3]], np.int32)
    np.testing.assert_allclose(
        counted(layers, tables, ids, share=0.25), 0.25 * counted(layers, tables, ids) + 0.75 / WIDTH, atol=1e-6
    )
