"""Windows of running text to train on, contexts to measure on; each word occurs once, so an id is a position."""

import numpy as np
import pytest

from app.contract.steps import TextPreprocessing
from app.contract.tensor_spec import TensorSpec
from app.contract.tokenizer import LINE_END, UNKNOWN_ID
from training.data.pipelines import NextTokenPipeline
from training.data.settings import Span
from training.datasets.splits import Examples

LENGTHS = (37, 1, 50, 2, 24)
LONGEST = 8


def make_examples(lengths=LENGTHS) -> Examples:
    words = iter(f"w{number:03d}" for number in range(sum(lengths)))
    texts = tuple(" ".join(next(words) for _ in range(length)) for length in lengths)
    return Examples(instances=texts, labels=np.zeros(len(texts), np.int32))


def bind(examples: Examples, **settings):
    wanted = {"vocabulary_size": 200, "max_length": LONGEST} | settings
    return NextTokenPipeline(**wanted).bind(examples, classes=0)


def batches(feed, examples: Examples, **span):
    wanted = {"epochs": 1, "batch_size": 1, "seed": 3} | span
    return [(ids.numpy(), targets.numpy()) for ids, targets in feed.training(examples, Span(**wanted))]


def stream(feed, examples: Examples):
    return np.concatenate(feed.passages(examples))


def same(some, others) -> bool:
    return len(some) == len(others) and all(
        np.array_equal(a, b) for one, other in zip(some, others, strict=True) for a, b in zip(one, other, strict=True)
    )


def test_the_vocabulary_is_that_of_the_training_part_alone():
    feed = bind(Examples(instances=("b a.\na\nb", "a"), labels=np.zeros(2, np.int32)), vocabulary_size=5)
    assert feed.tokenizer.tokens == ("a", LINE_END, "b")
    assert feed.tokenizer.encode("A c.\nb").tolist() == [2, UNKNOWN_ID, UNKNOWN_ID, 3, 4]
    assert feed.input == TensorSpec(name="token_ids", dtype="int32", shape=(-1,), minimum=0, maximum=4)
    assert feed.preprocessing == TextPreprocessing(input="token_ids", scheme="lines", max_length=LONGEST, keep="last")


def test_words_without_line_ends_are_another_scheme():
    examples = Examples(instances=("one,\ntwo!",), labels=np.zeros(1, np.int32))
    feed = bind(examples, scheme="words")
    assert feed.tokenizer.decode(feed.passages(examples)[0]) == ["one", "two", "!"]
    assert feed.preprocessing.scheme == "words"


def test_windows_tile_the_text_from_another_place_and_in_another_order_each_epoch():
    examples = make_examples()
    feed = bind(examples)
    text, count = stream(feed, examples), feed.rows(examples)
    assert count * LONGEST <= len(text) < (count + 2) * LONGEST
    found = batches(feed, examples, epochs=30)
    assert len(found) == 30 * count
    offsets, orders = [], []
    for epoch in range(30):
        windows = np.concatenate([ids for ids, _ in found[epoch * count : (epoch + 1) * count]])
        places = np.array([int(np.flatnonzero(text == first)[0]) for first in windows[:, 0]])
        offset = int(places.min())
        np.testing.assert_array_equal(windows[places.argsort()].ravel(), text[offset : offset + count * LONGEST])
        offsets.append(offset)
        orders.append(tuple((places - offset) // LONGEST))
    assert set(offsets) == set(range(LONGEST))
    assert len(set(orders)) == 30


def test_each_token_read_has_the_one_after_it_as_its_target_less_one():
    examples = make_examples()
    feed = bind(examples)
    text = stream(feed, examples)
    for ids, targets in batches(feed, examples, epochs=5, batch_size=4):
        assert ids.shape == targets.shape == (4, LONGEST)
        np.testing.assert_array_equal(ids[:, 1:], targets[:, :-1] + 1)
        for row, wanted in zip(ids, targets, strict=True):
            assert wanted[-1] + 1 == text[int(np.flatnonzero(text == row[-1])[0]) + 1]


def test_rows_that_do_not_fill_a_batch_are_left_out_of_that_epoch():
    examples = make_examples()
    feed = bind(examples)
    assert feed.rows(examples) == 13
    assert [len(ids) for ids, _ in batches(feed, examples, epochs=2, batch_size=5)] == [5, 5] * 2


def test_a_resumed_run_gets_the_batches_it_would_have_got():
    examples = make_examples()
    feed = bind(examples, word_dropout=0.3)
    whole = batches(feed, examples, epochs=4, batch_size=3)
    assert same(whole, batches(feed, examples, epochs=4, batch_size=3))
    per_epoch = feed.rows(examples) // 3
    for first in (1, 3):
        assert same(whole[first * per_epoch :], batches(feed, examples, epochs=4, batch_size=3, first_epoch=first))
    assert not same(whole[:per_epoch], whole[per_epoch : 2 * per_epoch])
    assert not same(whole, batches(feed, examples, epochs=4, batch_size=3, seed=4))


def test_word_dropout_hides_the_stated_share_of_the_inputs_and_none_of_the_targets():
    examples = make_examples((2000,))
    plain, dropped = bind(examples, vocabulary_size=3000), bind(examples, vocabulary_size=3000, word_dropout=0.25)
    pairs = zip(
        batches(plain, examples, epochs=4, batch_size=8),
        batches(dropped, examples, epochs=4, batch_size=8),
        strict=True,
    )
    shares = []
    for (ids, targets), (fewer, same_targets) in pairs:
        np.testing.assert_array_equal(targets, same_targets)
        hidden = fewer == UNKNOWN_ID
        np.testing.assert_array_equal(fewer[~hidden], ids[~hidden])
        shares.append(hidden.mean())
    assert np.mean(shares) == pytest.approx(0.25, abs=0.03)  # of about 8,000 tokens: six standard errors
    assert len(set(shares)) > 5
    for _, targets in dropped.watched(examples, batch_size=8):
        assert (targets.numpy() + 1 != UNKNOWN_ID).all()
    assert all((ids.numpy() != UNKNOWN_ID).all() for ids, _ in dropped.watched(examples, batch_size=8))


def test_a_stage_of_shorter_texts_reads_the_beginning_of_each_window():
    examples = make_examples()
    feed = bind(examples)
    whole, shorter = (
        batches(feed, examples, epochs=3, batch_size=4, max_length=length) for length in (None, LONGEST - 3)
    )
    assert same([(ids[:, :-3], targets[:, :-3]) for ids, targets in whole], shorter)


def test_a_stage_can_not_read_more_than_the_network_does():
    examples = make_examples()
    feed = bind(examples)
    assert same(
        batches(feed, examples, epochs=3, batch_size=4),
        batches(feed, examples, epochs=3, batch_size=4, max_length=LONGEST + 50),
    )


def test_evaluation_of_a_part_goes_through_it_window_by_window():
    examples = make_examples()
    feed = bind(examples)
    text = stream(feed, examples)
    dataset = feed.watched(examples, batch_size=5)
    for _ in range(2):
        read = np.concatenate([ids.numpy() for ids, _ in dataset])
        targets = np.concatenate([columns.numpy() for _, columns in dataset])
        windows = (len(text) - 1) // LONGEST
        assert read.shape == targets.shape == (windows, LONGEST)
        np.testing.assert_array_equal(read.ravel(), text[: windows * LONGEST])
        np.testing.assert_array_equal(targets.ravel() + 1, text[1 : windows * LONGEST + 1])


@pytest.mark.parametrize("lengths", [(1,), (2,), (5, 2), (LONGEST,), (LONGEST + 1,), (2 * LONGEST,)])
def test_a_text_shorter_than_two_windows_gives_no_training_batch_and_can_still_be_evaluated(lengths):
    examples = make_examples(lengths)
    feed = bind(examples)
    assert feed.rows(examples) == 0
    text = stream(feed, examples)
    looked = [(ids.numpy(), columns.numpy()) for ids, columns in feed.watched(examples, batch_size=5)]
    if len(text) == 1:
        assert looked == []
    else:
        np.testing.assert_array_equal(looked[0][0][0], text[: min(LONGEST, len(text) - 1)])
        np.testing.assert_array_equal(looked[0][1][0] + 1, text[1 : min(LONGEST, len(text) - 1) + 1])


def by_hand(feed, examples: Examples) -> list[tuple[list[int], int]]:
    """(at most LONGEST tokens before it, the token) for every token but the first of each passage."""
    return [
        (passage[max(0, place - LONGEST) : place].tolist(), int(passage[place]))
        for passage in feed.passages(examples)
        for place in range(1, len(passage))
    ]


@pytest.mark.parametrize("batch_size", [1, 7, 1000])
def test_every_token_but_the_first_of_each_passage_is_predicted_once_from_the_tokens_before_it(batch_size):
    examples = make_examples()
    feed = bind(examples)
    dataset, order = feed.evaluation(examples, batch_size=batch_size)
    wanted = by_hand(feed, examples)
    assert len(wanted) == sum(length - 1 for length in LENGTHS)
    np.testing.assert_array_equal(order, np.arange(len(wanted)))
    found = []
    for ids, targets in dataset:
        rows, columns = ids.numpy(), targets.numpy()
        assert rows.dtype == np.int32
        assert rows.shape[1] <= LONGEST
        assert (np.diff((rows != 0).astype(int), axis=1) <= 0).all()  # padding only after the text
        assert (rows != 0).any(axis=0).all()  # as long as the longest row of the batch
        found += [(row[row != 0].tolist(), column + 1) for row, column in zip(rows, columns, strict=True)]
    assert found == wanted
    assert len(dataset) == -(-len(wanted) // batch_size)
    assert feed.truth(examples).tolist() == [token - 1 for _, token in wanted]


def test_unknown_words_of_the_validation_part_are_predicted_as_the_unknown_token():
    feed = bind(make_examples())
    other = Examples(instances=("w001 nobody w002",), labels=np.zeros(1, np.int32))
    assert feed.truth(other).tolist() == [UNKNOWN_ID - 1, int(feed.tokenizer.encode("w002")[0]) - 1]
    assert feed.statistics(other) == {"kind": "text", "rows": 3, "unknown_share": {"mean": pytest.approx(1 / 3)}}


@pytest.mark.parametrize(("rows", "passages"), [(1, 1), (37, 1), (38, 2), (39, 3), (88, 3), (89, 4), (10_000, 5)])
def test_a_sample_has_the_first_passages_with_enough_tokens(rows, passages):
    examples = make_examples()
    assert bind(examples).sample(examples, rows).instances == examples.instances[:passages]
