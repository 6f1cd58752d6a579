"""``training new --images``: what it says about a folder, and the recipe that it writes."""

import os
import shutil

import numpy as np
import pytest
from PIL import Image

from app.contract.golden import Golden
from tests.support.own_data import write_pictures
from training.data.reading import read_data
from training.errors import DataMissing
from training.runs.catalogue import load_recipe
from training.sources.image_listing import list_images
from training.sources.table_file import read_table

PHOTOS = ("--images", "photos")
SMALL = ("--epochs", "1", "--set", "network.filters=4")


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    folder = tmp_path_factory.mktemp("drawn")
    write_pictures(folder, count=60)
    return folder


@pytest.fixture
def photos(drawn, tmp_path):
    return shutil.copytree(drawn, tmp_path / "photos")


@pytest.fixture(scope="module")
def drawn_small(tmp_path_factory):
    folder = tmp_path_factory.mktemp("small")
    write_pictures(folder, count=60, edges=(34, 48))
    return folder


@pytest.fixture
def small_photos(drawn_small, tmp_path):
    """The network sees 32x32 of them."""
    return shutil.copytree(drawn_small, tmp_path / "photos")


def test_it_says_what_it_found_and_what_to_run_next(photos, command):
    ended = command("new", "shapes", "--images", "photos")
    assert ended.code == 0
    assert "60 in 3 classes: circle 20, square 20, triangle 20" in ended.out
    assert "none of its own; the recipe takes 15 % of each class to validate and 15 % to test" in ended.out
    assert "the network sees 96x96" in ended.out
    assert "some classes have fewer than 50 pictures" in ended.out
    assert ended.out.endswith("recipe: recipes/shapes.py\nnext: python -m training run shapes --publish\n")


def test_the_recipe_runs_by_its_name_and_is_listed_and_evaluated(small_photos, command, tmp_path):
    command("new", "shapes", "--images", "photos")
    listed = command("list")
    assert "shapes" in listed.out
    assert "One of 3 classes in pictures" in listed.out
    ended = command("run", "shapes", *SMALL, "--publish", "--run-id", "first")
    assert ended.code == 0, ended.err
    assert "photos (class folders): 42 to train, 9 to validate" in ended.out
    assert (tmp_path / "models/shapes/1/model.onnx").is_file()
    again = command("evaluate", "runs/shapes/first")
    assert (again.code, "on 9 rows" in again.out) == (0, True), again.err


def test_a_backbone_with_weights_of_a_file_is_trained_in_two_steps_and_published(photos, command, tmp_path):
    import tf_keras

    tf_keras.utils.set_random_seed(7)
    made = tf_keras.applications.MobileNetV2(include_top=False, weights=None, alpha=0.35, input_shape=(32, 32, 3))
    normalise(made)
    made.save_weights(tmp_path / "small.h5")
    ended = command("new", "shapes", "--images", "photos", "--backbone", "mobilenet-v2", "--weights", "small.h5")
    assert (ended.code, "the network sees 160x160" in ended.out) == (0, True), ended.err
    file = tmp_path / "recipes/shapes.py"
    file.write_text(file.read_text().replace("SIZE = 160", "SIZE = 32"))
    small = ("--set", "network.width=0.35", "--epochs", "1", "--set", "stages.head.fitting.epochs=1")
    ended = command("run", "shapes", *small, "--publish")
    assert ended.code == 0, ended.err
    assert "stage head" in ended.out
    assert (tmp_path / "models/shapes/1/model.onnx").is_file()


def normalise(network):
    """Random features of which each has the mean 0 and the deviation 1, as those of a trained network have."""
    pixels = np.random.default_rng(0).uniform(-1, 1, (16, *network.input_shape[1:])).astype(np.float32)
    for layer in network.layers:
        if hasattr(layer, "momentum"):
            layer.momentum = 0.0
    network(pixels, training=True)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--backbone", "vgg"), "--backbone vgg: choose one of mobilenet-v2, efficientnet-b0, resnet-50"),
        (("--weights", "none"), "--weights requires --backbone: mobilenet-v2, efficientnet-b0, resnet-50"),
        (("--backbone", "resnet-50", "--weights", "no.h5"), "--weights no.h5: there is no such file"),
    ],
)
def test_options_of_a_backbone_that_do_not_fit_are_refused(photos, command, tmp_path, options, sentence):
    ended = command("new", "shapes", "--images", "photos", *options)
    assert (ended.code, sentence in ended.err) == (2, True), ended.err
    assert not (tmp_path / "recipes").exists()


def test_no_picture_is_published_unless_the_recipe_says_so(small_photos, command, tmp_path):
    command("new", "shapes", "--images", "photos")
    file = tmp_path / "recipes/shapes.py"
    recipe = load_recipe("shapes")
    splits = read_data(recipe.data, recipe.pipeline, synthetic=False)
    own = {
        picture.tobytes()
        for part in (splits.train, splits.validation, splits.read_test())
        for picture in np.asarray(part.instances)
    }
    assert command("run", "shapes", *SMALL, "--publish").code == 0
    file.write_text(file.read_text().replace("RECIPE = Recipe(", "RECIPE = Recipe(\n    publish_examples=True,"))
    assert command("run", "shapes", *SMALL, "--publish", "--run-id", "open").code == 0
    shown = [
        {row.tobytes() for row in Golden.read(tmp_path / f"models/shapes/{number}").inputs["pixels"]}
        for number in (1, 2)
    ]
    assert not shown[0] & own
    held_out = {picture.tobytes() for picture in splits.read_test().instances}
    assert shown[1] & own
    assert shown[1] & own <= held_out


def test_the_recipe_runs_by_its_path_from_anywhere(small_photos, command, tmp_path, monkeypatch):
    command("new", "shapes", "--images", "photos")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    ended = command("run", str(tmp_path / "recipes/shapes.py"), *SMALL, "--run-id", "first")
    assert ended.code == 0, ended.err
    assert (elsewhere / "runs/shapes/first/report.html").is_file()
    again = command("evaluate", "runs/shapes/first")
    assert (again.code, "on 9 rows" in again.out) == (0, True), again.err


def test_the_folder_of_own_recipes_can_be_named_by_a_variable(photos, command, tmp_path, monkeypatch):
    monkeypatch.setenv("ATELIER_RECIPES_DIR", str(tmp_path / "mine"))
    ended = command("new", "my-shapes", "--images", "photos")
    assert f"recipe: {tmp_path}/mine/my_shapes.py" in ended.out
    assert load_recipe("my-shapes").name == "my-shapes"


def test_what_cannot_be_used_is_named_and_left_out_so_that_the_recipe_runs(photos, command):
    broken = photos / "circle/0003.jpg"
    broken.write_bytes(broken.read_bytes()[:-300])
    (photos / "square/copy.jpg").write_bytes((photos / "circle/0006.jpg").read_bytes())
    (photos / "square/again.jpg").write_bytes((photos / "square/0001.jpg").read_bytes())
    (photos / "square/notes.txt").write_text("")
    ended = command("new", "shapes", "--images", "photos")
    for sentence in (
        "59 in 3 classes: circle 18, square 21, triangle 20",
        "2 files have the content of another file",
        "1: circle/0003.jpg",
        "- left out: circle/0003.jpg: image is truncated or damaged",
        "- left out: circle/0006.jpg: the same content in several classes",
        "- left out: square/copy.jpg: the same content in several classes",
        "- not pictures: square/notes.txt",
    ):
        assert sentence in ended.out
    splits = load_recipe("shapes").data.load()
    assert len(splits.train) + len(splits.validation) + len(splits.read_test()) == 59


def test_a_picture_that_is_also_in_the_test_part_is_left_out_of_the_training(tmp_path, command):
    for part, count in (("train", 30), ("test", 9)):
        write_pictures(tmp_path / "photos" / part, count=count, seed=count)
    copied = tmp_path / "photos/test/circle/copy.jpg"
    copied.write_bytes((tmp_path / "photos/train/circle/0003.jpg").read_bytes())
    ended = command("new", "shapes", "--images", "photos")
    assert "- left out: train/circle/0003.jpg: also in another part" in ended.out
    assert "training 30, test 10" in ended.out
    assert len(load_recipe("shapes").data.load().read_test()) == 10


def test_classes_of_different_size_are_weighed(photos, command):
    write_pictures(photos, count=30, seed=9, classes=("star",))
    write_pictures(photos, count=50, seed=8, classes=("moon",))
    ended = command("new", "shapes", "--images", "photos")
    assert "the classes differ in size by more than a factor of 2" in ended.out
    assert load_recipe("shapes").fitting.class_weights == "balanced"


@pytest.mark.parametrize(("edge", "size"), [(20, 32), (50, 48), (64, 64), (90, 64), (500, 96)])
def test_the_network_sees_a_size_that_half_of_the_pictures_fill(edge, size, tmp_path, command):
    for label in ("one", "two"):
        (tmp_path / "photos" / label).mkdir(parents=True)
        for number in range(4):
            name = f"photos/{label}/{number}.png"
            Image.new("RGB", (edge, edge + 3), (number, 0, len(label) * ord(label[0]) % 256)).save(tmp_path / name)
    ended = command("new", "edges", "--images", "photos")
    assert f"all {edge}x{edge + 3}; the network sees {size}x{size}" in ended.out


def refused(command, sentence, *arguments):
    ended = command("new", *arguments)
    assert (ended.code, ended.out) == (2, "")
    assert sentence in ended.err
    assert len(ended.err.splitlines()) == 1


def test_a_name_that_is_taken_is_refused(photos, command):
    ships = "there is already a recipe 'hello-world'; choose another name\n"
    refused(command, ships, "hello-world", "--images", "photos")
    command("new", "shapes", "--images", "photos")
    refused(command, "choose another name, or remove recipes/shapes.py", "shapes", "--images", "photos")


@pytest.mark.parametrize("name", ["my_shapes", "my shapes", "v1.2"])
def test_a_name_that_no_file_can_have_is_refused(name, photos, command):
    refused(command, f"{name!r}: use - in place of _, spaces and dots", name, "--images", "photos")


def test_a_name_that_no_model_can_have_is_refused(photos, command):
    refused(command, "'-x' cannot be the name of a model: ", "--images", "photos", "--", "-x")


def test_without_data_it_says_which_options_there_are(command):
    refused(command, "name the data with one option: --images DIR", "shapes")


def test_an_empty_folder_is_refused_and_nothing_is_written(tmp_path, command):
    (tmp_path / "photos").mkdir()
    refused(command, "is empty; put the pictures of each class into a folder", "shapes", "--images", "photos")
    assert not (tmp_path / "recipes").exists()


def test_a_folder_of_which_no_picture_can_be_used_is_refused(photos, command):
    (photos / "all").symlink_to(".")  # each picture is in two classes
    refused(command, "pictures can be used; each has the content of one in another class", "shapes", *PHOTOS)
    (photos / "all").unlink()
    for picture in photos.glob("*/*"):
        picture.write_bytes(b"no picture")
    refused(command, "none of the 60 pictures can be used; circle/", "shapes", *PHOTOS)


def test_a_name_that_is_not_utf8_is_refused(photos, command):
    next(photos.glob("circle/*")).rename(photos / "circle" / os.fsdecode(b"\xff.png"))
    refused(command, r"the name 'circle/\udcff.png' is not UTF-8; rename it", "shapes", *PHOTOS)


def test_control_characters_in_a_label_do_not_end_the_recipe(tmp_path, command):
    rows = "".join(f"text {row},{'good' if row % 2 else 'bad' + chr(1) + chr(0)}\n" for row in range(20))
    (tmp_path / "odd.csv").write_text("text,label\n" + rows)
    assert command("new", "moods", "--texts", "odd.csv").code == 0


@pytest.fixture
def as_nobody():
    """Permissions do not bind root."""
    if os.geteuid() == 0:
        os.seteuid(65534)
        yield
        os.seteuid(0)
    else:
        yield


def test_data_that_may_not_be_read_are_one_sentence(photos, tmp_path, request):
    file = tmp_path / "rows.csv"
    file.write_text("text,label\ngood,pos\n")
    for closed in (photos / "circle", file):
        closed.chmod(0)
    request.getfixturevalue("as_nobody")
    with pytest.raises(DataMissing, match="cannot be read: Permission denied"):
        list_images(photos)
    with pytest.raises(DataMissing, match=r"cannot be read: Permission denied|is not a file"):
        read_table(file)


def test_no_recipe_is_written_that_run_would_refuse(photos, command, tmp_path):
    for picture in (tmp_path / "photos/circle").iterdir():
        picture.write_bytes(b"no picture")
    ended = command("new", "shapes", "--images", "photos")
    assert ended.code == 2
    assert "no picture of class 'circle' can be used" in ended.err
    assert "- left out: circle/" in ended.out
    assert not (tmp_path / "recipes/shapes.py").exists()
    (tmp_path / "few.csv").write_text("text,label\ngood,pos\nbad,neg\nfine,pos\n")
    ended = command("new", "moods", "--texts", "few.csv")
    assert ended.code == 2
    assert "class 'neg' has 1 different rows; at least 3 are required" in ended.err
    assert not (tmp_path / "recipes/moods.py").exists()
