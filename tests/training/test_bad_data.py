"""Unusable training data is refused in one sentence, before any file is written."""

import io
import tarfile

import numpy as np
import pytest
from PIL import Image

from tests.training.tiny import (
    Given,
    bright_images,
    image_recipe,
    number_recipe,
    plane_points,
    short_texts,
    text_recipe,
)
from training.datasets.check import stack_images
from training.datasets.cifar10 import CatsVsDogs
from training.datasets.splits import Examples
from training.errors import DataUnusable
from training.fit.fit import fit
from training.recipe.fitting import Fitting
from training.recipe.recipe import Stage
from training.runs.record import Plan
from training.runs.run import run

LABELS = ("dark", "bright")


def given(draw, **parts):
    whole = {"train": draw(32, 1), "validation": draw(16, 2), "test": draw(16, 3)}
    return Given(**(whole | parts), labels=() if draw is plane_points else LABELS)


def changed(examples, *, row, label=None, instance=None):
    labels, instances = examples.labels.copy(), examples.instances
    if label is not None:
        labels[row] = label
    if instance is not None:
        instances = instances.copy()
        instances[row] = instance
    return Examples(instances=instances, labels=labels)


def refused(recipe, sentence, tmp_path, console, *, plan=None):
    directory = tmp_path / "run"
    with pytest.raises(DataUnusable, match=sentence):
        run(recipe, plan or Plan(), directory=directory, console=console)
    return directory


@pytest.mark.parametrize(
    ("make", "draw"), [(image_recipe, bright_images), (text_recipe, short_texts), (number_recipe, plane_points)]
)
def test_an_empty_training_part_is_refused_and_no_run_is_left(make, draw, tmp_path, console):
    nothing = draw(32, 1).take(np.arange(0))
    directory = refused(make(data=given(draw, train=nothing)), "^given: the training part is empty$", tmp_path, console)
    assert not directory.exists()


def test_data_of_one_class_are_refused_with_its_name(tmp_path, console):
    examples = bright_images(32, 1)
    alike = Examples(instances=examples.instances, labels=np.ones(32, np.int32))
    sentence = "^given: all 32 training rows are of the class 'bright'; there is nothing to distinguish$"
    refused(image_recipe(data=given(bright_images, train=alike)), sentence, tmp_path, console)


@pytest.mark.parametrize("label", [2, -1])
@pytest.mark.parametrize(("part", "name"), [("train", "training"), ("validation", "validation")])
def test_a_label_outside_the_classes_is_refused_with_part_row_and_value(part, name, label, tmp_path, console):
    wrong = changed(bright_images(16, 1), row=7, label=label)
    sentence = f"^given: row 7 of the {name} part has label {label}, but there are 2 classes, 0 to 1$"
    refused(image_recipe(data=given(bright_images, **{part: wrong})), sentence, tmp_path, console)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("what", ["instance", "label"])
@pytest.mark.parametrize(("part", "name"), [("train", "training"), ("validation", "validation")])
def test_nan_and_infinity_are_refused_with_part_row_and_value(part, name, what, value, tmp_path, console):
    wrong = changed(plane_points(16, 1), row=5, **{what: value})
    named = {"instance": "instance", "label": "target"}[what]
    sentence = f"^given: 1 of 16 {name} rows hold NaN or infinity; the first is row 5, whose {named} holds {value}$"
    refused(number_recipe(data=given(plane_points, **{part: wrong})), sentence, tmp_path, console)


def test_a_test_part_is_checked_when_it_is_read(tmp_path, console):
    wrong = changed(bright_images(16, 3), row=3, label=9)
    recipe = image_recipe(data=given(bright_images, test=wrong), epochs=1, target=0.0)
    run(recipe, Plan(), directory=tmp_path / "untested", console=console)
    refused(recipe, "row 3 of the test part has label 9", tmp_path, console, plan=Plan(test=True))


def test_more_instances_than_labels_are_refused(tmp_path, console):
    lopsided = Examples(instances=bright_images(33, 1).instances, labels=bright_images(32, 1).labels)
    sentence = "^given: the training part has 33 instances but 32 labels$"
    refused(image_recipe(data=given(bright_images, train=lopsided)), sentence, tmp_path, console)


def test_targets_without_a_width_are_refused(tmp_path, console):
    """With answers of shape (rows, 1) they would be broadcast against each other."""
    points = plane_points(32, 1)
    flat = Examples(instances=points.instances, labels=points.labels[:, 0])
    sentence = r"^given: the targets of the training part have shape \(32,\); \(rows, width\) is expected$"
    refused(number_recipe(data=given(plane_points, train=flat)), sentence, tmp_path, console)


def test_the_data_of_a_stage_are_checked_too(tmp_path, console):
    nothing = given(bright_images, train=bright_images(0, 1))
    stage = Stage(name="early", build=image_recipe().build, shared_layers=(), fitting=Fitting(epochs=1, batch_size=8))
    recipe = image_recipe(stages=(stage,))
    splits = recipe.data.load()
    stages = (Stage(**{**vars(stage), "data": nothing}),)
    with pytest.raises(DataUnusable, match="the training part is empty"):
        fit(
            image_recipe(stages=stages),
            recipe.pipeline.bind(splits.train, classes=2),
            splits,
            directory=tmp_path,
            console=console,
        )


def test_a_command_prints_one_sentence_and_exits_with_2(write_recipe, command, tmp_path):
    write_recipe(
        "tiny_images.py",
        """
        from tests.training.test_bad_data import given
        from tests.training.tiny import bright_images, image_recipe
        RECIPE = image_recipe(data=given(bright_images, train=bright_images(0, 1)))
        """,
    )
    ended = command("run", "tiny-images")
    assert (ended.code, ended.err) == (2, "error: given: the training part is empty\n")
    assert not (tmp_path / "runs").exists()


def jpeg(edge):
    buffer = io.BytesIO()
    Image.new("RGB", (edge, edge), (200, 10, 10)).save(buffer, "JPEG")
    return buffer.getvalue()


def write_tar(path, files):
    with tarfile.open(path, "w") as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))


def test_images_of_several_sizes_are_refused_with_the_names_of_two(data_directory):
    write_tar(
        data_directory / "train.tar", {"cat/0001.jpg": jpeg(32), "dog/0001.jpg": jpeg(32), "dog/0002.jpg": jpeg(48)}
    )
    (data_directory / "test.tar").touch()
    sentence = (
        r"train\.tar: dog/0002\.jpg has shape \(48, 48, 3\), but cat/0001\.jpg has \(32, 32, 3\); "
        "all images of a data set must have the same size"
    )
    with pytest.raises(DataUnusable, match=sentence):
        CatsVsDogs().load()


def test_no_images_at_all_are_refused():
    with pytest.raises(DataUnusable, match=r"^nothing holds no images$"):
        stack_images([], [], name="nothing")
