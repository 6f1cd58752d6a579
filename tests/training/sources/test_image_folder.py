"""Folders of pictures as users have them: what is read, and what is refused before any training."""

import numpy as np
import pytest
from PIL import Image

from tests.support.own_data import write_pictures
from training.errors import DataMissing, DataUnusable
from training.sources.image_folder import ImageFolder
from training.sources.image_listing import list_images


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    write_pictures(folder, count=60)
    return folder


def load(folder, **settings):
    return ImageFolder(folder=str(folder), **settings).load()


def name_of(path, folder):
    return path.removeprefix(f"{folder}/")


def test_the_names_of_the_folders_are_the_labels_and_each_picture_is_in_one_part(photos):
    splits = load(photos)
    parts = [splits.train, splits.validation, splits.read_test()]
    assert splits.labels == ("circle", "square", "triangle")
    assert [len(part) for part in parts] == [42, 9, 9]
    for part in parts:
        for path, label in zip(part.instances, part.labels, strict=True):
            assert name_of(path, photos).startswith(f"{splits.labels[label]}/")
    assert len({path for part in parts for path in part.instances}) == 60


def test_the_record_of_the_data_changes_with_one_pixel(photos):
    before = load(photos).files
    Image.new("RGB", (50, 50), (1, 2, 3)).save(photos / "circle/0000.png")
    assert load(photos).files != before
    assert list(before) == [str(photos)]


def test_train_and_test_folders_stay_the_parts_that_they_are(tmp_path):
    write_pictures(tmp_path / "train", count=60)
    write_pictures(tmp_path / "test", count=12, seed=1)
    splits = load(tmp_path)
    assert [len(splits.train), len(splits.validation), len(splits.read_test())] == [51, 9, 12]
    assert all("/test/" in path for path in splits.read_test().instances)
    assert all("/train/" in path for path in (*splits.train.instances, *splits.validation.instances))


def test_hidden_files_are_not_pictures_and_others_are_listed(photos):
    (photos / ".DS_Store").write_text("")
    (photos / "circle" / ".hidden.png").write_text("")
    (photos / "circle" / "notes.txt").write_text("")
    listing = list_images(photos)
    assert listing.ignored == ("circle/notes.txt",)
    assert len(listing.parts["whole"]) == 60


def refused(folder, sentence, error=DataUnusable, **settings):
    with pytest.raises(error, match=sentence):
        load(folder, **settings)


def test_a_folder_that_does_not_exist_is_named(tmp_path):
    refused(tmp_path / "nowhere", "nowhere is not a folder; give the folder that contains", DataMissing)


def test_an_empty_folder_is_refused(tmp_path):
    refused(tmp_path, "is empty; put the pictures of each class into a folder")


def test_pictures_without_class_folders_are_refused_with_one_of_them(tmp_path):
    (tmp_path / "notes.txt").write_text("x")
    refused(tmp_path, "has no class folders; put the pictures of each class into a folder")
    Image.new("L", (9, 9)).save(tmp_path / "one.png")
    refused(tmp_path, r"contains the picture one\.png instead of class folders")


def test_one_class_only_is_refused_with_its_name(tmp_path):
    write_pictures(tmp_path, count=6, classes=("circle",))
    refused(tmp_path, "has only one class, 'circle'; there is nothing to distinguish")


def test_a_class_folder_without_pictures_is_refused(photos):
    (photos / "empty").mkdir()
    refused(photos, "photos/empty contains no pictures; remove the folder, or add some$")
    (photos / "empty" / "page.heic").write_text("")
    refused(photos, r"add some; it has empty/page\.heic, which is not a PNG, JPEG, GIF, BMP, WebP or TIFF file$")


def test_a_class_of_the_test_part_only_is_refused(tmp_path):
    write_pictures(tmp_path / "train", count=30)
    write_pictures(tmp_path / "test", count=6, classes=("circle", "star"))
    refused(tmp_path, "test has the class 'star', but the training part has circle, square, triangle$")


def test_a_class_folder_next_to_train_is_refused(tmp_path):
    write_pictures(tmp_path / "train", count=30)
    write_pictures(tmp_path, count=6, classes=("star",))
    refused(tmp_path, "a folder of training pictures and also star/; next to train/ only validation/ and test/")


def test_the_same_picture_in_two_parts_is_refused_with_both_files(tmp_path):
    write_pictures(tmp_path / "train", count=30)
    write_pictures(tmp_path / "test", count=6, seed=1)
    copied = tmp_path / "test/circle/copy.jpg"
    copied.write_bytes((tmp_path / "train/circle/0003.jpg").read_bytes())
    refused(
        tmp_path,
        r"train/circle/0003\.jpg and test/circle/copy\.jpg have the same content, but are in different parts; a test "
        "must be new: remove one, or name it in leave_out$",
    )
    assert len(load(tmp_path, leave_out=("test/circle/copy.jpg",)).read_test()) == 6


def test_the_same_picture_in_two_classes_is_refused_with_both_files(photos):
    (photos / "square/copy.jpg").write_bytes((photos / "circle/0003.jpg").read_bytes())
    refused(photos, r"circle/0003\.jpg and square/copy\.jpg have the same content, but are in different classes")


def test_copies_within_a_class_are_in_the_same_part(photos):
    for number in range(5):
        (photos / f"circle/copy-{number}.jpg").write_bytes((photos / "circle/0003.jpg").read_bytes())
    splits = load(photos)
    copies = {"circle/0003.jpg", *(f"circle/copy-{number}.jpg" for number in range(5))}
    parts = [
        {name_of(path, photos) for path in part.instances}
        for part in (splits.train, splits.validation, splits.read_test())
    ]
    assert sorted(len(copies & part) for part in parts) == [0, 0, 6]


def test_leave_out_that_names_no_picture_is_refused(photos):
    refused(
        photos,
        r"leave_out names circle/9999\.jpg, but .*photos has no such picture",
        DataMissing,
        leave_out=("circle/9999.jpg",),
    )


def test_a_class_with_two_pictures_is_refused(photos):
    write_pictures(photos, count=2, classes=("star",))
    refused(photos, "class 'star' has 2 different rows; at least 3 are required")


def test_the_same_seed_gives_the_same_parts(photos):
    one, again, other = (load(photos, split_seed=seed) for seed in (0, 0, 1))
    assert one.train.instances == again.train.instances != other.train.instances
    np.testing.assert_array_equal(one.train.labels, again.train.labels)
