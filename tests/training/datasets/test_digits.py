import numpy as np
import pytest

from tests.training.makers_files import write_makers_files
from training.datasets.digits import Digits
from training.datasets.drawn.digits import digit_images
from training.datasets.mnist import DIGIT_LABELS, MAKERS, Mnist
from training.errors import DataDamaged


def test_the_digits_of_scikit_learn_are_split_by_class_and_no_image_is_in_two_parts():
    from sklearn.datasets import load_digits

    splits = Digits(validation_per_class=30, test_per_class=20).load()
    parts = (splits.train, splits.validation, splits.read_test())
    assert [len(part) for part in parts] == [1797 - 500, 300, 200]
    assert splits.labels == DIGIT_LABELS
    for part, each in zip(parts[1:], (30, 20), strict=True):
        assert np.bincount(part.labels).tolist() == [each] * 10
    source = load_digits()
    known = {(image.tobytes(), int(label)) for image, label in zip(source.images * 255, source.target, strict=True)}
    found = [pair for part in parts for pair in zip(part.instances, part.labels, strict=True)]
    rows = [(np.rint(image / 255 * 16) * 255, int(label)) for image, label in found]
    assert {(image.tobytes(), label) for image, label in rows} == known
    assert max(part.instances.max() for part in parts) == 255
    assert len(splits.files["digits.csv.gz"]) == 64


def test_the_same_seed_gives_the_same_parts_and_another_one_others():
    one, same, other = (Digits(split_seed=seed).load().validation for seed in (0, 0, 1))
    np.testing.assert_array_equal(one.instances, same.instances)
    assert not np.array_equal(one.instances, other.instances)


def test_mnist_is_read_as_fashion_mnist_is_from_a_folder_of_its_own(data_directory):
    (data_directory / "mnist").mkdir()
    archives = write_makers_files(data_directory / "mnist", MAKERS)
    splits = Mnist(validation_per_class=2, archives=archives).load()
    assert (splits.name, splits.labels) == ("MNIST", DIGIT_LABELS)
    assert splits.train.instances.shape == (40, 28, 28)
    assert (splits.train.instances[:, 0, 0] % 10 == splits.train.labels).all()
    assert len(splits.read_test()) == 20
    with pytest.raises(DataDamaged, match="its makers published f68b3c2dcbeaaa9fbdd348bbdeb94873"):
        Mnist().load()


@pytest.mark.parametrize("source", [Digits(synthetic_count=40), Mnist(synthetic_count=40)], ids=["digits", "mnist"])
def test_drawn_digits_have_the_shape_of_the_real_ones(source):
    splits = source.synthetic()
    edge = 8 if isinstance(source, Digits) else 28
    assert [part.instances.shape for part in (splits.train, splits.validation)] == [(40, edge, edge), (10, edge, edge)]
    assert np.bincount(splits.train.labels).tolist() == [4] * 10


def test_a_drawn_digit_is_nearest_to_the_mean_of_its_own_kind():
    images, labels = digit_images(300, seed=0, edge=28)
    means = np.stack([images[labels == digit].mean(axis=0) for digit in range(10)])
    new, kinds = digit_images(100, seed=1, edge=28)
    distances = ((new[:, None].astype(np.float64) - means) ** 2).sum(axis=(2, 3))
    assert (distances.argmin(axis=1) == kinds).mean() > 0.85
    assert images.dtype == np.uint8
    assert not np.array_equal(images[:100], new)
