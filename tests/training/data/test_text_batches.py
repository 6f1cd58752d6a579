import numpy as np
import pytest

from training.data.pipelines import TextPipeline
from training.data.settings import Span, TextAugmentation
from training.datasets.splits import Examples

ALPHABET = "abcdefghijklmnopqrst"


def make_examples(count: int = 48, seed: int = 0) -> Examples:
    """Text i: 1 to 20 words, of which no two texts share a pair of neighbours by chance alone."""
    generator = np.random.default_rng(seed)
    texts = tuple(" ".join(generator.permutation(list(ALPHABET))[: generator.integers(1, 21)]) for _ in range(count))
    return Examples(instances=texts, labels=generator.integers(0, 2, count).astype(np.int32))


def bind(examples: Examples, **settings):
    wanted = {"vocabulary_size": 22, "max_length": 12, "bucket": 4} | settings
    return TextPipeline(**wanted).bind(examples, classes=2)


def batches(feed, examples: Examples, **span):
    wanted = {"epochs": 1, "batch_size": 8, "seed": 3} | span
    return [(ids.numpy(), targets.numpy()) for ids, targets in feed.training(examples, Span(**wanted))]


def rows(found):
    return [
        (tuple(row[row != 0].tolist()), int(target.argmax()))
        for ids, targets in found
        for row, target in zip(ids, targets, strict=True)
    ]


@pytest.mark.parametrize("keep", ["first", "last"])
def test_training_batches_contain_the_tokenizer_s_ids_with_their_labels(keep):
    examples = make_examples()
    feed = bind(examples, keep=keep)
    expected = sorted(
        (tuple(feed.tokenizer.encode(text).tolist()), int(label))
        for text, label in zip(examples.instances, examples.labels, strict=True)
    )
    assert sorted(rows(batches(feed, examples))) == expected


def test_a_batch_has_texts_of_similar_length_padded_after_the_text_to_a_bucket():
    examples = make_examples(480)
    found = batches(bind(examples, max_length=20), examples)
    for ids, _ in found:
        assert ids.shape[1] % 4 == 0
        assert ids.shape[1] - (ids != 0).sum(axis=1).max() < 4
        assert all((np.diff((row != 0).astype(int)) <= 0).all() for row in ids)


def test_a_resumed_run_gets_the_batches_it_would_have_got():
    examples = make_examples()
    augmentation = TextAugmentation(word_dropout=0.2, crop=0.5, crop_minimum=2, crop_maximum=9)
    feed = bind(examples, augmentation=augmentation)
    whole, resumed = batches(feed, examples, epochs=3), batches(feed, examples, epochs=3, first_epoch=1)
    assert len(whole) == 18
    for (ids, targets), (others, other_targets) in zip(whole[6:], resumed, strict=True):
        assert ids.tobytes() == others.tobytes()
        assert targets.tobytes() == other_targets.tobytes()
    assert whole[0][0].tobytes() != whole[6][0].tobytes()


def test_crops_are_stretches_of_their_text():
    examples = make_examples(160)
    augmentation = TextAugmentation(crop=1.0, crop_minimum=2, crop_maximum=9)
    feed = bind(examples, augmentation=augmentation, max_length=20)
    spoken = [f" {text} " for text in examples.instances]
    found = [f" {' '.join(feed.tokenizer.decode(ids))} " for ids, _ in rows(batches(feed, examples))]
    assert all(any(stretch in text for text in spoken) for stretch in found)
    assert sum(stretch not in spoken for stretch in found) > 80
    assert max(len(stretch.split()) for stretch in found) <= 9


def test_word_dropout_makes_the_stated_share_unknown():
    examples = make_examples(160)
    feed = bind(examples, augmentation=TextAugmentation(word_dropout=0.25), max_length=20)
    ids = np.concatenate([np.array(row) for row, _ in rows(batches(feed, examples))])
    assert (ids == 1).mean() == pytest.approx(0.25, abs=0.05)  # 1,700 draws: three standard deviations


def test_the_first_epochs_and_a_stage_may_use_another_length():
    examples = make_examples()
    feed = bind(examples, augmentation=TextAugmentation(first_epochs=1, first_length=4))
    found = batches(feed, examples, epochs=2)
    assert max(ids.shape[1] for ids, _ in found[:6]) == 4
    assert max(ids.shape[1] for ids, _ in found[6:]) == 12
    assert max(ids.shape[1] for ids, _ in batches(bind(examples), examples, max_length=20)) == 20


def test_the_vocabulary_comes_from_the_training_part_alone():
    train = Examples(instances=("film film good", "film bad"), labels=np.zeros(2, np.int32))
    feed = bind(train, vocabulary_size=4)
    assert feed.tokenizer.tokens == ("film", "bad")
    assert feed.input.maximum == 3
    assert feed.tokenizer.encode("good film elsewhere").tolist() == [1, 2, 1]


def test_evaluation_covers_every_row_shortest_first_with_its_index():
    examples = make_examples(21)
    feed = bind(examples)
    dataset, order = feed.evaluation(examples, batch_size=8)
    found = rows([(ids.numpy(), targets.numpy()) for ids, targets in dataset])
    assert [ids for ids, _ in found] == [
        tuple(feed.tokenizer.encode(examples.instances[row]).tolist()) for row in order
    ]
    assert [label for _, label in found] == examples.labels[order].tolist()
    assert [len(ids) for ids, _ in found] == sorted(len(ids) for ids, _ in found)


def test_statistics_describe_lengths_and_unknown_tokens():
    examples = Examples(instances=("a b", "a b c c"), labels=np.zeros(2, np.int32))
    statistics = bind(examples, vocabulary_size=3).statistics(examples)  # knows one word: c, or a by the alphabet
    assert statistics["mean"] == 3.0
    assert statistics["unknown_share"]["mean"] == pytest.approx((0.5 + 0.75) / 2)
    assert sum(statistics["histogram"]["shares"]) == pytest.approx(1.0)
