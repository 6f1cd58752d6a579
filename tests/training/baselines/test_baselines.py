import json

import numpy as np
import pytest

from training.baselines.comparison import compare_methods
from training.baselines.features import fit_features
from training.baselines.methods import METHODS
from training.datasets.digits import Digits
from training.datasets.imdb import Imdb
from training.datasets.splits import Examples, Splits
from training.errors import SettingRefused


def never_read():
    raise AssertionError("the test part was read")


def splits_of(train: Examples, validation: Examples, labels=("a", "b")) -> Splits:
    return Splits(
        name="x", form="drawn", files={}, labels=labels, train=train, validation=validation, read_test=never_read
    )


def two_digits(part: Examples) -> Examples:
    return part.take(np.flatnonzero(part.labels < 2)[:100])


def test_each_method_learns_real_digits_and_texts_and_the_test_part_stays_unread():
    digits, reviews = Digits().load(), Imdb(synthetic_count=200).synthetic()
    two = splits_of(two_digits(digits.train), two_digits(digits.validation))
    for splits in (two, splits_of(reviews.train, reviews.validation)):
        chance, *found = compare_methods(splits, rows=200)
        assert [each.method for each in found] == list(METHODS)
        assert chance.accuracy < 0.6
        weakest = min(found, key=lambda each: each.accuracy)
        assert weakest.accuracy > 0.8, weakest
        assert all(each.rows == len(splits.train) and each.bytes > 500 and each.seconds > 0 for each in found)


def test_labels_that_nothing_tells_are_chance():
    rng = np.random.default_rng(0)
    parts = [
        Examples(instances=rng.random((count, 4), np.float32), labels=rng.integers(2, size=count).astype(np.int32))
        for count in (100, 400)
    ]
    for each in compare_methods(splits_of(*parts), rows=100):
        assert 0.4 < each.accuracy < 0.6, each.method


def test_columns_of_a_table_become_numbers_with_marks_for_gaps_and_one_number_for_each_category():
    kinds = [("age", np.float32), ("region", object)]
    train = np.array([(20, b"north"), (40, b"south"), (np.nan, b"north")], kinds)
    features = fit_features(Examples(instances=train, labels=np.array([0, 1, 0], np.int32)))
    found = features.matrix(np.array([(30, b"south"), (np.nan, b"north"), (40, b"west")], kinds))
    np.testing.assert_allclose(found, [[0, 0, 0, 1], [0, 1, 1, 0], [1, 0, 0, 0]])


def test_words_are_those_of_the_training_part_only():
    train = Examples(instances=("good film", "bad film"), labels=np.array([1, 0], np.int32))
    features = fit_features(train)
    assert features.kind == "words"
    new = features.matrix(("Good, and never seen!", "nothing known"))
    assert (new.getnnz(axis=1) == [1, 0]).all()


def test_pixels_are_from_0_to_1_and_pictures_that_are_not_in_memory_are_refused():
    images = np.full((2, 3, 3), 255, np.uint8)
    labels = np.array([0, 1], np.int32)
    assert fit_features(Examples(instances=images, labels=labels)).matrix(images).tolist() == [[1.0] * 9] * 2
    with pytest.raises(SettingRefused, match="memory_limit_mb"):
        fit_features(Examples(instances=range(2), labels=labels))


def test_the_command_prints_a_table_and_writes_the_figures(command, tmp_path):
    small = ("--dataset", "synthetic", "--set", "data.synthetic_count=60", "--rows", "40", "--run-id", "x")
    done = command("baselines", "digits-building-blocks", *small)
    assert done.code == 0, done.err
    assert "gradient boosting" in done.out
    record = json.loads((tmp_path / "runs/digits-building-blocks/x/baselines.json").read_text())
    assert [each["rows"] for each in record["methods"]] == [40] * 7
    assert record["network"] is None
    assert record["validation_rows"] == 15


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("hello-world", "hello-world does not sort rows into classes"),
        ("drawn-garments-two-heads", "baselines are for classifiers"),
        ("mnist-mlp-512", "mnist-mlp-512 has no validation part to measure on"),
    ],
)
def test_a_recipe_without_classes_or_validation_is_refused(name, sentence, command):
    synthetic = ("--dataset", "synthetic", "--set", "data.synthetic_count=20") if name == "mnist-mlp-512" else ()
    done = command("baselines", name, *synthetic)
    assert done.code == 2
    assert sentence in done.err
