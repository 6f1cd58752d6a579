import numpy as np
import pytest

from training.errors import DataUnusable
from training.sources.splitting import split_rows

SHARES = {"validation_share": 0.15, "test_share": 0.2, "seed": 0}


def parts_of(contents, labels, **changes):
    parts = split_rows(contents, labels, **(SHARES | changes))
    return parts.train, parts.validation, parts.test


def test_each_class_is_split_in_proportion_and_every_row_is_in_one_part():
    labels = np.repeat(np.array([0, 1, 2], np.int32), [100, 40, 20])
    parts = parts_of(range(160), labels)
    assert sorted(np.concatenate(parts)) == list(range(160))
    assert [np.bincount(labels[rows]).tolist() for rows in parts] == [[65, 26, 13], [15, 6, 3], [20, 8, 4]]


def test_the_seed_alone_decides():
    labels = np.zeros(50, np.int32)
    one, again, other = (parts_of(range(50), labels, seed=seed) for seed in (1, 1, 2))
    assert [rows.tolist() for rows in one] == [rows.tolist() for rows in again]
    assert one[2].tolist() != other[2].tolist()


def test_equal_rows_are_in_the_same_part():
    contents = [number // 4 for number in range(120)]
    for rows in parts_of(contents, np.zeros(120, np.int32)):
        own = {contents[row] for row in rows}
        assert sum(content in own for content in contents) == len(rows)


def test_a_small_class_has_a_row_in_every_part():
    labels = np.array([0] * 100 + [1] * 3, np.int32)
    assert [int((labels[rows] == 1).sum()) for rows in parts_of(range(103), labels)] == [1, 1, 1]


def test_a_share_of_0_gives_an_empty_part():
    train, validation, test = parts_of(range(20), None, validation_share=0.0)
    assert (len(train), len(validation), len(test)) == (16, 0, 4)


def test_a_class_with_fewer_rows_than_parts_is_refused_with_its_name():
    labels = np.array([0] * 100 + [1] * 2, np.int32)
    sentence = "^class 'rare' has 2 different rows; at least 3 are required, one for each part of the data$"
    with pytest.raises(DataUnusable, match=sentence):
        parts_of(range(102), labels, names=("common", "rare"))


@pytest.mark.parametrize(("validation", "test"), [(0.5, 0.5), (-0.1, 0.2)])
def test_shares_that_leave_nothing_to_train_on_are_refused(validation, test):
    with pytest.raises(DataUnusable, match=f"validation_share {validation:g} and data.test_share {test:g} must be 0"):
        parts_of(range(20), None, validation_share=validation, test_share=test)
