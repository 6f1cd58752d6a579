import numpy as np

from training.datasets.splits import Examples, split_by_class, split_synthetic


def test_a_split_takes_the_stated_number_of_each_class_and_loses_no_row():
    labels = np.repeat(np.arange(3, dtype=np.int32), [20, 30, 10])
    train, validation = split_by_class(labels, validation_per_class=4, seed=1)
    assert np.bincount(labels[validation]).tolist() == [4, 4, 4]
    assert sorted([*train, *validation]) == list(range(60))


def test_a_split_follows_from_its_seed():
    labels = np.arange(40, dtype=np.int32) % 2
    one, again, other = (split_by_class(labels, validation_per_class=5, seed=seed)[1].tolist() for seed in (1, 1, 2))
    assert one == again
    assert sorted(one) != sorted(other)


def test_examples_are_taken_in_the_given_order():
    texts = Examples(instances=("a", "b", "c"), labels=np.array([0, 1, 2], np.int32)).take(np.array([2, 0]))
    assert texts.instances == ("c", "a")
    assert texts.labels.tolist() == [2, 0]


def test_synthetic_parts_are_drawn_from_different_seeds():
    def draw(count, seed):
        return Examples(instances=np.full((count, 1, 1), seed, np.uint8), labels=np.zeros(count, np.int32))

    splits = split_synthetic(draw, labels=("a", "b"), count=8, seed=5)
    assert (splits.form, len(splits.train), len(splits.validation), len(splits.read_test())) == ("synthetic", 8, 2, 2)
    assert {int(part.instances[0, 0, 0]) for part in (splits.train, splits.validation, splits.read_test())} == {5, 6, 7}
