import numpy as np
import pytest

from app.contract.tensor_spec import TensorSpec
from training.network.ngrams import COUNTS, FACTORS, RATIOS, Places, build_counting, build_weighing, log_ratios
from training.recipe.recipe import Signature

WORDS, PLACES = 20, Places(pair_ids=10, pairs=13)
SIGNATURE = Signature(
    input=TensorSpec(name="token_ids", dtype="int32", shape=(-1,), minimum=0, maximum=WORDS - 1), classes=2
)


def place_of_pair(previous: int, own: int) -> int:
    return WORDS + (previous * 2_654_435_761 + own * 805_459_861) % PLACES.pairs


def places_of(rows):
    from training.network.ngram_layers import DistinctPlaces

    layer = DistinctPlaces(words=WORDS, pair_ids=PLACES.pair_ids, pairs=PLACES.pairs)
    return [sorted(set(row.tolist()) - {0}) for row in layer(np.array(rows, np.int32)).numpy()]


@pytest.mark.parametrize(
    ("ids", "words", "pairs"),
    [
        ([2, 3], [2, 3], [(2, 3)]),
        ([3, 2], [2, 3], [(3, 2)]),
        ([2, 3, 2, 3, 0, 0], [2, 3], [(2, 3), (3, 2)]),
        ([9, 10, 9], [9, 10], []),  # 10 is too rare for a pair
        ([4, 1, 5], [4, 5], []),  # 1 is the unknown word
        ([1, 0], [], []),
    ],
)
def test_places_are_those_of_the_words_and_of_pairs_of_frequent_words(ids, words, pairs):
    assert places_of([ids]) == [sorted({*words, *(place_of_pair(*pair) for pair in pairs)})]


def test_a_place_is_given_once_in_a_row_however_often_its_word_occurs():
    from training.network.ngram_layers import DistinctPlaces

    layer = DistinctPlaces(words=WORDS, pair_ids=2, pairs=1)
    places = layer(np.array([[7, 5, 7, 7, 0]], np.int32)).numpy()
    assert sorted(places[0])[-3:] == [0, 5, 7]


def test_the_hash_of_the_largest_ids_does_not_overflow():
    from training.network.ngram_layers import DistinctPlaces

    last = 2**31 - 1
    layer = DistinctPlaces(words=0, pair_ids=last + 1, pairs=839_999)
    expected = (last * 2_654_435_761 + last * 805_459_861) % 839_999
    assert expected in layer(np.array([[last, last]], np.int32)).numpy()


def test_counting_counts_the_texts_of_each_class_at_each_place_once():
    import tf_keras

    model = build_counting(SIGNATURE, PLACES)
    model.compile(optimizer=tf_keras.optimizers.SGD(), loss="categorical_crossentropy")
    ids = np.array([[2, 3, 2, 0], [3, 0, 0, 0], [2, 3, 0, 0]], np.int32)
    model.fit(ids, np.eye(2, dtype=np.float32)[[1, 1, 0]], batch_size=2, shuffle=False, verbose=0)
    counts = model.get_layer(COUNTS).get_weights()[0]
    assert counts[2].tolist() == [1, 1]
    assert counts[3].tolist() == [1, 2]
    assert counts[place_of_pair(2, 3)].tolist() == [1, 1]
    assert counts[place_of_pair(3, 2)].tolist() == [0, 1]
    score = np.log(2 / 2) + np.log(3 / 2) + np.log(2 / 2)
    np.testing.assert_allclose(model(ids[2:]).numpy()[0, 1], 1 / (1 + np.exp(-score)), rtol=1e-5)  # float32


def test_log_ratios_are_those_of_shares_raised_by_one():
    ratios = log_ratios(np.array([[9, 9], [3, 0], [0, 5]], np.float32))
    np.testing.assert_allclose(ratios[:, 0], [0, np.log((1 / 7) / (4 / 5)), np.log((6 / 7) / (1 / 5))], rtol=1e-6)


def test_the_weighing_network_adds_ratios_times_factors():
    model = build_weighing(SIGNATURE, PLACES)
    ratios, factors = np.zeros((2, WORDS + PLACES.pairs, 1), np.float32)
    ratios[2], factors[2], ratios[3], factors[3], ratios[0], factors[0] = 2, 0.5, -1, 3, 7, 7
    model.get_layer(RATIOS).set_weights([ratios])
    model.get_layer(FACTORS).set_weights([factors])
    answer = model(np.array([[2, 3, 2, 0]], np.int32)).numpy()[0, 1]
    np.testing.assert_allclose(answer, 1 / (1 + np.exp(-(2 * 0.5 - 3))), rtol=1e-5)  # float32


def test_byte_scores_are_rounded_and_cut_to_the_limit_and_place_0_has_none():
    from training.network.ngram_layers import ByteScores

    layer = ByteScores(size=4, limit=1.27)
    layer(np.zeros((1, 1), np.int64))
    layer.adopt(np.array([1, 0.123, -5, 0.5], np.float32))
    sums = layer(np.array([[0, 1, 0], [2, 0, 0], [1, 2, 3]], np.int64)).numpy()
    np.testing.assert_allclose(sums[:, 0], [0.12, -1.27, 0.12 - 1.27 + 0.5], atol=1e-6)
