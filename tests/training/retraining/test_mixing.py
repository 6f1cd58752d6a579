"""Which rows a retraining trains on, which it only measures on, and which it leaves out."""

import numpy as np
import pytest

from training.data.image_files import ImageFiles
from training.datasets.splits import Examples, Splits
from training.errors import DataUnusable, SettingRefused
from training.retraining.mixing import join, mix


def rows(texts, label=0):
    return Examples(instances=tuple(texts), labels=np.full(len(texts), label, np.int32))


def old(train=100, validation=20, test=20):
    parts = [rows([f"{name} {number}" for number in range(count)]) for name, count in
             (("train", train), ("validation", validation), ("test", test))]  # fmt: skip
    return Splits(
        name="old", form="drawn", files={}, labels=("a", "b"), train=parts[0], validation=parts[1],
        read_test=lambda: parts[2],
    )  # fmt: skip


NEW = rows([f"new {number}" for number in range(100)], label=1)


def mixed(new=NEW, data=None, *, share_old=0.5, epochs=1, seed=0):
    return mix(new, data or old(), share_old=share_old, epochs=epochs, seed=seed)


def test_new_rows_are_trained_on_or_held_out_and_keep_their_labels():
    found = mixed()
    trained = {text for text in found.training.instances if text.startswith("new")}
    held_out = set(found.held_out.instances)
    assert trained | held_out == set(NEW.instances)
    assert not trained & held_out
    assert 15 <= len(held_out) <= 45
    assert (found.counts.new, found.counts.held_out) == (len(trained), len(held_out))
    for part in (found.training, found.held_out):
        assert all((text[:3] == "new") == label for text, label in zip(part.instances, part.labels, strict=True))


@pytest.mark.parametrize("share", [0.0, 0.25, 0.5])
def test_old_rows_have_the_stated_share(share):
    found = mixed(share_old=share)
    assert found.counts.old == round(found.counts.new * share / (1 - share))
    assert sum(text.startswith("train") for text in found.training.instances) == found.counts.old
    assert len(set(found.training.instances)) == len(found.training) == found.counts.old + found.counts.new


def test_all_old_rows_are_used_if_there_are_too_few():
    assert mixed(share_old=0.9).counts.old == 100


def test_the_choice_of_old_rows_and_the_order_depend_on_the_seed_alone():
    first, again, other = (mixed(share_old=0.25, seed=seed).training.instances for seed in (1, 1, 2))
    assert first == again
    assert set(first) != set(other)


def test_a_row_that_is_held_out_once_is_held_out_in_every_retraining():
    held_out = set(mixed().held_out.instances)
    more = rows([*reversed(NEW.instances), *(f"later {number}" for number in range(50))])
    again = mixed(more, seed=7)
    assert held_out <= set(again.held_out.instances)
    assert held_out.isdisjoint(again.training.instances)


def test_copies_of_old_validation_and_test_rows_are_left_out_even_with_other_spaces():
    new = rows([*NEW.instances, "validation 3", " test 4 ", "test 4"])
    found = mixed(new)
    assert found.counts.copies == 3
    assert not {"validation 3", " test 4 ", "test 4"} & {*found.training.instances, *found.held_out.instances}


def test_copies_of_old_training_rows_are_not_measured_on():
    new = rows([*NEW.instances, *(f"train {number}" for number in range(60))])
    assert not any(text.startswith("train") for text in mixed(new).held_out.instances)


def test_passes_over_few_new_rows_come_with_other_old_rows():
    found = mixed(data=old(train=1000), epochs=40)
    assert found.passes == 8
    assert found.counts.old == 8 * found.counts.new
    texts = found.training.instances
    assert len({text for text in texts if text.startswith("train")}) == found.counts.old
    assert sum(text.startswith("new") for text in texts) == 8 * found.counts.new
    assert mixed(data=old(train=1000), epochs=4).passes == 1
    assert mixed(data=old(train=1000), epochs=40, share_old=0).passes == 1


@pytest.mark.parametrize("share", [-0.1, 1.0, 1.5])
def test_a_share_out_of_range(share):
    with pytest.raises(SettingRefused, match="must be 0 or more, and below 1"):
        mixed(share_old=share)


def test_too_few_rows_to_measure_on_or_to_train_on():
    with pytest.raises(DataUnusable, match=r"of 12 new rows 0 are copies .* to measure on; at least 10 are required"):
        mixed(rows(NEW.instances[:12]))
    with pytest.raises(DataUnusable, match=r"of 3 new rows 3 are copies .* 0 are left to train on; at least 1"):
        mixed(rows([f"test {number}" for number in range(3)]))


def table(values):
    instances = np.array([(value, b"x") for value in values], [("age", np.float32), ("city", object)])
    return Examples(instances=instances, labels=np.zeros(len(instances), np.int32))


def test_rows_of_a_table_with_many_values_are_compared_by_their_values():
    data = Splits(
        name="t", form="table", files={}, labels=("a", "b"), train=table(range(100)), validation=table(range(100, 120)),
        read_test=lambda: table(range(120, 140)),
    )  # fmt: skip
    assert mixed(table([*range(105, 125), *range(200, 260)]), data).counts.copies == 20


def test_equal_rows_of_a_table_with_few_values_are_different_cases():
    few = [number % 4 for number in range(100)]
    data = Splits(
        name="t", form="table", files={}, labels=("a", "b"), train=table(few), validation=table(few),
        read_test=lambda: table(few),
    )  # fmt: skip
    found = mixed(table(few), data)
    assert found.counts.copies == 0
    assert 15 <= found.counts.held_out <= 45


class Painter:
    """Decodes a name into pixels of its number."""

    def decode(self, path):
        return np.full((2, 2), int(path), np.uint8)


def test_pictures_on_the_disk_and_in_memory_are_joined():
    files = Examples(instances=ImageFiles(["1", "2"], Painter()), labels=np.array([0, 1]))
    pixels = Examples(instances=np.full((1, 2, 2), 3, np.uint8), labels=np.array([1]))
    assert isinstance(join(files, files).instances, ImageFiles)
    np.testing.assert_array_equal(np.asarray(join(files, files).instances)[:, 0, 0], [1, 2, 1, 2])
    both = join(files, pixels)
    np.testing.assert_array_equal(both.instances[:, 0, 0], [1, 2, 3])
    np.testing.assert_array_equal(both.labels, [0, 1, 1])
