import hashlib
import io
import tarfile

import numpy as np
import pytest
from PIL import Image

from training.datasets.archive import Archive
from training.datasets.cifar10 import CatsVsDogs
from training.errors import DataDamaged, DataMissing

NUMBERS = {"airplane": 0, "cat": 3, "dog": 5}


def add(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(data)
    archive.addfile(member, io.BytesIO(data))


def picture(name: str, number: int) -> np.ndarray:
    """One colour all over: red tells the class, green the number."""
    return np.broadcast_to(np.array([NUMBERS[name] * 40, number * 10, 30], np.uint8), (32, 32, 3))


def write_jpeg_tar(path, per_class: int) -> None:
    with tarfile.open(path, "w") as archive:
        for name in NUMBERS:
            for number in range(per_class):
                buffer = io.BytesIO()
                Image.fromarray(picture(name, number)).save(buffer, "JPEG", quality=95)
                add(archive, f"{name}/{number:04d}.jpg", buffer.getvalue())


def records(first: int, per_class: int) -> bytes:
    rows = []
    for number in range(first, first + per_class):
        for name, label in NUMBERS.items():
            rows.append(bytes([label]) + picture(name, number).transpose(2, 0, 1).tobytes())
    return b"".join(rows)


def write_binary_tar(path) -> Archive:
    with tarfile.open(path, "w:gz") as archive:
        add(archive, "cifar-10-batches-bin/data_batch_2.bin", records(4, 4))
        add(archive, "cifar-10-batches-bin/data_batch_1.bin", records(0, 4))
        add(archive, "cifar-10-batches-bin/test_batch.bin", records(8, 3))
        add(archive, "cifar-10-batches-bin/readme.html", b"<html>")
    return Archive(name=path.name, url="file:///no such file", md5=hashlib.md5(path.read_bytes()).hexdigest())


def check(splits, *, tolerance: int) -> None:
    assert splits.labels == ("cat", "dog")
    assert (len(splits.train), len(splits.validation), len(splits.read_test())) == (12, 4, 6)
    greens = []
    for part in (splits.train, splits.validation, splits.read_test()):
        assert part.instances.shape[1:] == (32, 32, 3)
        red, green = part.instances[:, 5, 7, 0].astype(int), part.instances[:, 5, 7, 1].astype(int)
        assert (np.abs(red - np.where(part.labels == 0, 120, 200)) <= tolerance).all()
        greens.append(sorted((green / 10).round().astype(int)))
    assert sorted(greens[0] + greens[1]) == sorted([*range(8), *range(8)])


def test_the_makers_binary_archive_is_read_and_split(data_directory):
    archive = write_binary_tar(data_directory / "cifar-10-binary.tar.gz")
    splits = CatsVsDogs(validation_per_class=2, archive=archive).load()
    assert splits.form == "makers' binary tar"
    assert set(splits.files) == {"cifar-10-binary.tar.gz"}
    check(splits, tolerance=0)
    assert splits.read_test().labels.tolist() == [0, 1, 0, 1, 0, 1]


def test_the_plain_form_is_read_and_split(data_directory):
    (data_directory / "cifar10").mkdir()
    write_jpeg_tar(data_directory / "cifar10" / "train.tar", 8)
    write_jpeg_tar(data_directory / "cifar10" / "test.tar", 3)
    splits = CatsVsDogs(validation_per_class=2).load()
    assert splits.form == "JPEG tar"
    assert set(splits.files) == {"train.tar", "test.tar"}
    check(splits, tolerance=4)  # JPEG rounds colours


def test_the_makers_archive_wins_where_both_forms_are(data_directory):
    archive = write_binary_tar(data_directory / "cifar-10-binary.tar.gz")
    for name in ("train.tar", "test.tar"):
        write_jpeg_tar(data_directory / name, 2)
    assert CatsVsDogs(validation_per_class=2, archive=archive).load().form == "makers' binary tar"


def test_with_neither_form_the_makers_archive_is_named(data_directory):
    archive = Archive(name="cifar-10-binary.tar.gz", url="file:///no such file", md5="0")
    with pytest.raises(
        DataMissing, match=r"cifar-10-binary\.tar\.gz is not in .*file:///no such file.*ATELIER_DATA_DIR"
    ):
        CatsVsDogs(archive=archive).load()


def test_a_tar_without_dogs_is_refused(data_directory):
    with tarfile.open(data_directory / "train.tar", "w") as archive:
        buffer = io.BytesIO()
        Image.fromarray(picture("cat", 1)).save(buffer, "JPEG")
        add(archive, "cat/0001.jpg", buffer.getvalue())
    (data_directory / "test.tar").touch()
    with pytest.raises(DataDamaged, match="none under dog"):
        CatsVsDogs().load()


def test_a_member_that_is_no_image_is_refused(data_directory):
    with tarfile.open(data_directory / "train.tar", "w") as archive:
        add(archive, "cat/0001.jpg", b"not a picture")
    (data_directory / "test.tar").touch()
    with pytest.raises(DataDamaged, match=r"train\.tar is not a tar of CLASS/NNNN\.jpg"):
        CatsVsDogs().load()


def test_a_binary_batch_of_broken_records_is_refused(data_directory):
    path = data_directory / "cifar-10-binary.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        add(archive, "cifar-10-batches-bin/data_batch_1.bin", records(0, 1)[:-1])
    broken = Archive(name=path.name, url="file:///", md5=hashlib.md5(path.read_bytes()).hexdigest())
    with pytest.raises(DataDamaged, match="holds no whole data_batch_"):
        CatsVsDogs(archive=broken).load()


def test_synthetic_blobs_have_the_same_shapes_and_labels():
    splits = CatsVsDogs(synthetic_count=20).synthetic()
    assert splits.labels == ("cat", "dog")
    assert splits.train.instances.shape == (20, 32, 32, 3)
