import gzip
import struct

import numpy as np
import pytest

from tests.training.makers_files import idx, write_makers_files
from training.datasets.fashion_labels import FASHION_LABELS
from training.datasets.fashion_mnist import FashionMnist
from training.datasets.idx_images import read_idx
from training.errors import DataDamaged, DataMissing


def test_the_makers_files_are_read_and_split(data_directory):
    (data_directory / "fashion-mnist").mkdir()
    archives = write_makers_files(data_directory / "fashion-mnist")
    splits = FashionMnist(validation_per_class=2, archives=archives).load()
    assert splits.form == "IDX gzip"
    assert splits.labels == FASHION_LABELS
    assert set(splits.files) == {archive.name for archive in vars(archives).values()}
    assert splits.train.instances.shape == (40, 28, 28)
    assert splits.train.instances.dtype == np.uint8
    assert np.bincount(splits.validation.labels).tolist() == [2] * 10
    for part in (splits.train, splits.validation):
        assert (part.instances[:, 0, 0] % 10 == part.labels).all()
    assert not set(splits.train.instances[:, 0, 0]) & set(splits.validation.instances[:, 0, 0])
    assert splits.read_test().labels.tolist() == [*range(10), *range(10)]


def intensities(part) -> list[int]:
    return part.instances[:, 0, 0].tolist()


def test_a_validation_split_takes_the_last_rows_as_keras_does(data_directory):
    splits = FashionMnist(validation_split=0.2, archives=write_makers_files(data_directory)).load()
    assert intensities(splits.train) == list(range(48))
    assert intensities(splits.validation) == list(range(48, 60))
    for part in (splits.train, splits.validation):
        assert part.labels.tolist() == [number % 10 for number in intensities(part)]


@pytest.mark.parametrize("share", [0.01, 0.109, 0.12, 0.2, 0.375, 0.98])
def test_a_share_that_is_not_a_whole_number_of_rows_is_cut_where_keras_cuts_it(data_directory, share):
    from tf_keras.src.engine.data_adapter import train_validation_split

    splits = FashionMnist(validation_split=share, archives=write_makers_files(data_directory)).load()
    (train,), (validation,) = train_validation_split((np.arange(60),), validation_split=share)
    assert intensities(splits.train) == train.tolist()
    assert intensities(splits.validation) == validation.tolist()


def test_with_no_row_of_a_class_validating_every_row_trains(data_directory):
    splits = FashionMnist(validation_per_class=0, archives=write_makers_files(data_directory)).load()
    assert len(splits.validation) == 0
    assert splits.validation.instances.shape == (0, 28, 28)
    assert sorted(intensities(splits.train)) == list(range(60))


@pytest.mark.parametrize(
    ("settings", "rows"), [({}, 10), ({"validation_split": 0.5}, 10), ({"validation_per_class": 0}, 0)]
)
def test_drawn_garments_validate_only_where_images_would(settings, rows):
    splits = FashionMnist(synthetic_count=40, **settings).synthetic()
    assert [len(part) for part in (splits.train, splits.validation, splits.read_test())] == [40, rows, 10]


def test_a_missing_file_is_named(data_directory):
    archives = write_makers_files(data_directory)
    (data_directory / "t10k-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(
        DataMissing, match=r"t10k-labels-idx1-ubyte\.gz is not in .*ATELIER_DATA_DIR.*--dataset synthetic"
    ):
        FashionMnist(archives=archives).load()


def test_the_makers_real_checksums_guard_the_real_names(data_directory):
    write_makers_files(data_directory)
    with pytest.raises(DataDamaged, match="its makers published 8d4fb7e6c68d591d4c3dfef9ec88bf0d"):
        FashionMnist().load()


@pytest.mark.parametrize(
    "data",
    [
        b"not gzip",
        idx(np.arange(4))[:-9],
        gzip.compress(b"\x00\x00\x08"),
        gzip.compress(struct.pack(">HBBI", 0, 8, 1, 5) + b"1234"),
        gzip.compress(struct.pack(">HBBI", 0, 13, 1, 4) + b"1234"),
    ],
    ids=["not gzip", "cut short", "no header", "fewer values than stated", "another type"],
)
def test_a_damaged_file_is_refused(tmp_path, data):
    (tmp_path / "x.gz").write_bytes(data)
    with pytest.raises(DataDamaged, match=r"x\.gz is not a gzip IDX file"):
        read_idx(tmp_path / "x.gz")


def test_synthetic_garments_have_the_same_shapes_and_labels():
    splits = FashionMnist(synthetic_count=40).synthetic()
    assert splits.form == "synthetic"
    assert splits.labels == FASHION_LABELS
    assert splits.train.instances.shape == (40, 28, 28)
    assert splits.train.labels.dtype == np.int32
