import hashlib
import io
import tarfile
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from training.datasets.archive import Archive
from training.datasets.cifar10 import CIFAR_LABELS, OTHER_LABELS, CatsVsDogs, EightOthers
from training.errors import DataDamaged, DataMissing, DataUnusable

NUMBERS = {"airplane": 0, "cat": 3, "dog": 5}
ALL_NUMBERS = {name: number for number, name in enumerate(CIFAR_LABELS)}


def add(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(data)
    archive.addfile(member, io.BytesIO(data))


def picture(name: str, number: int) -> np.ndarray:
    """One colour all over: red is the class, green the number."""
    return np.broadcast_to(np.array([ALL_NUMBERS[name] * 25, number * 10, 30], np.uint8), (32, 32, 3))


def write_jpeg_tar(path, per_class: int, *, names=NUMBERS) -> None:
    with tarfile.open(path, "w") as archive:
        for name in names:
            for number in range(per_class):
                buffer = io.BytesIO()
                Image.fromarray(picture(name, number)).save(buffer, "JPEG", quality=95)
                add(archive, f"{name}/{number:04d}.jpg", buffer.getvalue())


def records(first: int, per_class: int, *, names=NUMBERS) -> bytes:
    rows = []
    for number in range(first, first + per_class):
        for name in names:
            rows.append(bytes([ALL_NUMBERS[name]]) + picture(name, number).transpose(2, 0, 1).tobytes())
    return b"".join(rows)


def write_binary_tar(path, *, names=NUMBERS) -> Archive:
    with tarfile.open(path, "w:gz") as archive:
        add(archive, "cifar-10-batches-bin/data_batch_2.bin", records(4, 4, names=names))
        add(archive, "cifar-10-batches-bin/data_batch_1.bin", records(0, 4, names=names))
        add(archive, "cifar-10-batches-bin/test_batch.bin", records(8, 3, names=names))
        add(archive, "cifar-10-batches-bin/readme.html", b"<html>")
    return Archive(name=path.name, url="file:///no such file", md5=hashlib.md5(path.read_bytes()).hexdigest())


def check(splits, *, tolerance: int) -> None:
    assert splits.labels == ("cat", "dog")
    assert (len(splits.train), len(splits.validation), len(splits.read_test())) == (12, 4, 6)
    greens = []
    for part in (splits.train, splits.validation, splits.read_test()):
        assert part.instances.shape[1:] == (32, 32, 3)
        red, green = part.instances[:, 5, 7, 0].astype(int), part.instances[:, 5, 7, 1].astype(int)
        assert (np.abs(red - np.where(part.labels == 0, 75, 125)) <= tolerance).all()
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
    with pytest.raises(DataDamaged, match="holds no images under dog/"):
        CatsVsDogs().load()


def test_a_member_that_is_not_an_image_is_refused(data_directory):
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


def seen(part) -> list[tuple[str, int]]:
    """Class and number of each picture, by its colour; JPEG rounds colours."""
    means = part.instances.reshape(len(part), -1, 3).mean(axis=1)
    return [(CIFAR_LABELS[round(red / 25)], round(green / 10)) for red, green, _ in means]


def named(part, labels) -> list[str]:
    return [labels[label] for label in part.labels]


@pytest.mark.parametrize("form", ["makers' binary tar", "JPEG tar"])
def test_the_eight_others_are_all_but_cats_and_dogs(data_directory, form):
    archive = Archive(name="cifar-10-binary.tar.gz", url="file:///no such file", md5="0")
    if form == "JPEG tar":
        write_jpeg_tar(data_directory / "train.tar", 8, names=CIFAR_LABELS)
        write_jpeg_tar(data_directory / "test.tar", 3, names=CIFAR_LABELS)
    else:
        archive = write_binary_tar(data_directory / archive.name, names=CIFAR_LABELS)
    splits = EightOthers(per_class=6, validation_per_class=2, archive=archive).load()
    assert splits.form == form
    assert splits.labels == OTHER_LABELS == tuple(name for name in CIFAR_LABELS if name not in {"cat", "dog"})
    test = splits.read_test()
    assert [len(part) for part in (splits.train, splits.validation, test)] == [8 * 4, 8 * 2, 8 * 3]
    for part in (splits.train, splits.validation, test):
        assert [name for name, _ in seen(part)] == named(part, OTHER_LABELS)
        assert part.labels.dtype == np.int32
        assert len(set(np.bincount(part.labels, minlength=8))) == 1
    assert not set(seen(splits.train)) & set(seen(splits.validation))


def test_the_eight_others_are_all_used_if_there_are_fewer_than_the_limit(data_directory):
    archive = write_binary_tar(data_directory / "cifar-10-binary.tar.gz", names=CIFAR_LABELS)
    splits = EightOthers(archive=archive, validation_per_class=3).load()
    assert np.bincount(splits.train.labels).tolist() == [5] * 8


def test_an_archive_of_three_classes_only_has_no_eight_others(data_directory):
    write_jpeg_tar(data_directory / "train.tar", 2)
    (data_directory / "test.tar").touch()
    with pytest.raises(DataDamaged, match="holds no images under automobile/"):
        EightOthers(archive=Archive(name="gone", url="file:///", md5="")).load()


def test_synthetic_blobs_replace_the_eight_others():
    splits = EightOthers(synthetic_count=40).synthetic()
    assert (splits.form, splits.labels) == ("synthetic", OTHER_LABELS)
    assert np.bincount(splits.train.labels).tolist() == [5] * 8
    means = [splits.train.instances[splits.train.labels == label].mean(axis=(0, 1, 2)) for label in range(8)]
    distances = [np.abs(one - other).max() for i, one in enumerate(means) for other in means[:i]]
    assert min(distances) > 5


@pytest.mark.parametrize(("labelled", "each"), [(1, 1), (4, 4), (6, 6), (100, 6), (None, 6)])
def test_labelled_cats_and_dogs_are_limited_and_equal_in_number(data_directory, labelled, each):
    archive = write_binary_tar(data_directory / "cifar-10-binary.tar.gz")
    everything = CatsVsDogs(validation_per_class=2, archive=archive).load()
    splits = CatsVsDogs(validation_per_class=2, archive=archive, labelled_per_class=labelled).load()
    assert np.bincount(splits.train.labels).tolist() == [each, each]
    assert named(splits.train, ("cat", "dog")) == [name for name, _ in seen(splits.train)]
    order = seen(everything.train)
    assert [order.index(row) for row in seen(splits.train)] == sorted(order.index(row) for row in seen(splits.train))
    assert seen(splits.validation) == seen(everything.validation)
    assert len(splits.read_test()) == 6


def test_more_labelled_images_are_the_fewer_and_some_more(data_directory):
    archive = write_binary_tar(data_directory / "cifar-10-binary.tar.gz")
    few, more = (
        set(seen(CatsVsDogs(validation_per_class=2, archive=archive, labelled_per_class=count).load().train))
        for count in (2, 5)
    )
    assert few < more


def test_skipped_images_give_another_choice_and_too_few_after_them_are_refused(data_directory):
    archive = write_binary_tar(data_directory / "cifar-10-binary.tar.gz")
    source = CatsVsDogs(validation_per_class=2, archive=archive, labelled_per_class=3)
    first, second = (seen(replace(source, skipped_per_class=skipped).load().train) for skipped in (0, 3))
    assert len(first) == len(second) == 6
    assert not set(first) & set(second)
    with pytest.raises(DataUnusable, match="class 0 has 6 training images; 3 after 4 skipped ones are expected"):
        replace(source, skipped_per_class=4).load()


def test_synthetic_blobs_are_limited_too():
    splits = CatsVsDogs(synthetic_count=40, labelled_per_class=3).synthetic()
    assert np.bincount(splits.train.labels).tolist() == [3, 3]
    assert len(splits.validation) == 10
