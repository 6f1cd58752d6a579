"""New rows of pictures and tables, from files and from recordings, in the form of the old ones."""

import numpy as np
import pytest
from PIL import Image

from app.contract.recordings.instance import print_line
from app.contract.recordings.tensors import to_json
from tests.support.own_data import write_flats, write_members, write_pictures
from tests.support.recordings import document
from tests.training.tiny import image_recipe, number_recipe
from training.data.pipelines import NextTokenPipeline, TablePipeline
from training.data.reading import read_data
from training.errors import DataUnusable, SettingRefused
from training.measure.tasks import Regress
from training.retraining.new_rows import read_new_rows
from training.sources.image_folder import ImageFolder
from training.sources.table import Table


def opened(recipe):
    splits = read_data(recipe.data, recipe.pipeline, synthetic=False)
    return splits, recipe.pipeline.bind(splits.train, classes=len(splits.labels))


def read(path, recipe):
    splits, feed = opened(recipe)
    return read_new_rows(path, recipe, feed, splits)


def refused(path, recipe, sentence, kind=DataUnusable):
    with pytest.raises(kind, match=sentence):
        read(path, recipe)


@pytest.fixture
def pictures(tmp_path):
    write_pictures(tmp_path / "old", count=30)
    return image_recipe(data=ImageFolder(folder=str(tmp_path / "old")))


def recorded(path, recipe, *instances):
    """A file of recordings: (inputs, feedback) of each."""
    lines = [
        print_line(document(f"r{number}", model=recipe.name, inputs=inputs, feedback={**feedback, "time_s": 1.0}))
        for number, (inputs, feedback) in enumerate(instances)
    ]
    path.write_bytes(b"".join(lines))
    return path


def test_a_picture_in_a_file_and_the_same_one_recorded_are_the_same_row(tmp_path, pictures):
    """What the service received is what the steps make of the file."""
    write_pictures(tmp_path / "new", count=6, seed=3)
    from_files = read(tmp_path / "new", pictures).examples
    assert from_files.instances.shape == (6, 8, 8, 3)
    inputs = [{"pixels": to_json(pixels)} for pixels in from_files.instances]
    labels = [("circle", "square", "triangle")[label] for label in from_files.labels]
    path = recorded(
        tmp_path / "new.jsonl",
        pictures,
        *[(each, {"label": label}) for each, label in zip(inputs, labels, strict=True)],
    )
    from_service = read(path, pictures).examples
    np.testing.assert_array_equal(from_service.instances, from_files.instances)
    np.testing.assert_array_equal(from_service.labels, from_files.labels)


def test_a_folder_need_not_have_all_classes(tmp_path, pictures):
    write_pictures(tmp_path / "new", count=5, classes=("square",))
    assert read(tmp_path / "new", pictures).examples.labels.tolist() == [1] * 5


def test_pictures_that_cannot_be_used(tmp_path, pictures):
    new = tmp_path / "new"
    (new / "hexagon").mkdir(parents=True)
    refused(new, pictures, "new/hexagon: the folder has the label 'hexagon', but the model only knows circle, square")
    (new / "hexagon").rename(new / "circle")
    refused(
        new, pictures, "new has no pictures in class folders; expected PNG, .* in folders called circle, square, tri"
    )
    (new / "circle/a.png").write_bytes(b"no picture")
    refused(new, pictures, "circle/a.png: .*; remove it$")
    (tmp_path / "new.csv").write_text("a\n1\n")
    refused(
        tmp_path / "new.csv", pictures, "new.csv is a file, but tiny-images is retrained with a folder", SettingRefused
    )


def test_a_slash_in_a_label_is_an_underscore_in_the_name_of_a_folder(tmp_path):
    from tests.training.tiny import Given, bright_images

    part = bright_images(20, 1)
    recipe = image_recipe(data=Given(train=part, validation=part, test=part, labels=("dark/grey", "bright")))
    (tmp_path / "dark_grey").mkdir()
    Image.new("L", (8, 8)).save(tmp_path / "dark_grey/a.png")
    with pytest.raises(SettingRefused, match=r"make pixels of shape \(8, 8, 3\) .* takes \(8, 8\)"):
        read(tmp_path, recipe)  # the label is known; these pixels have one channel


def test_recorded_pixels_of_another_shape_and_numbers_for_a_classifier(tmp_path, pictures):
    small, whole = (to_json(np.zeros((edge, edge, 3), np.uint8)) for edge in (4, 8))
    path = tmp_path / "new.jsonl"
    recorded(path, pictures, ({"pixels": small}, {"label": "circle"}))
    refused(
        path, pictures, r"'r0' has 'pixels' as uint8 of shape \(4, 4, 3\); the model takes uint8 of shape \(8, 8, 3\)"
    )
    recorded(path, pictures, ({"x": whole}, {"label": "circle"}))
    refused(path, pictures, "'r0' has no input 'pixels'; it has x")
    recorded(path, pictures, ({"pixels": whole}, {"value": 3}))
    refused(path, pictures, "'r0' has a number as the right answer, but tiny-images classifies")


def table_recipe(path, **data):
    return number_recipe(data=Table(file=str(path), **data), pipeline=TablePipeline())


def test_rows_of_a_table_are_those_of_its_columns_and_of_recordings(tmp_path):
    write_members(tmp_path / "old.csv", count=60)
    write_members(tmp_path / "new.csv", count=8, seed=5)
    columns = {"target": "stays", "predicts": "classes", "numbers": ("age", "visits"), "categories": ("plan",)}
    recipe = table_recipe(tmp_path / "old.csv", **columns)
    found = read(tmp_path / "new.csv", recipe).examples
    assert found.instances.dtype.names == ("age", "visits", "plan")
    inputs = [
        {
            "age": to_json(np.float32(row["age"])),
            "visits": to_json(np.float32(row["visits"])),
            "plan": {"text": row["plan"].decode()} if number % 2 else to_json(np.array(row["plan"], object)),
        }
        for number, row in enumerate(found.instances)
    ]
    labels = [{"label": ("no", "yes")[label]} for label in found.labels]
    again = read(recorded(tmp_path / "n.jsonl", recipe, *zip(inputs, labels, strict=True)), recipe).examples
    assert list(map(str, again.instances)) == list(map(str, found.instances))
    assert again.labels.tolist() == found.labels.tolist()


def test_numbers_that_are_predicted(tmp_path):
    write_flats(tmp_path / "old.csv", count=60)
    write_flats(tmp_path / "new.csv", count=8, seed=5)
    columns = {"target": "rent", "predicts": "number", "numbers": ("rooms",), "categories": ("city",)}
    recipe = table_recipe(tmp_path / "old.csv", **columns)
    assert isinstance(recipe.task, Regress)
    assert read(tmp_path / "new.csv", recipe).examples.labels.shape == (8, 1)
    row = {"rooms": to_json(np.float32(2)), "city": {"text": "Bern"}}
    values = [{"value": 900.5}, {"value": [800]}, {"value": {"values": [700.0]}}]
    path = recorded(tmp_path / "new.jsonl", recipe, *[(row, value) for value in values])
    assert read(path, recipe).examples.labels.tolist() == [[900.5], [800.0], [700.0]]
    recorded(path, recipe, (row, {"value": [1, 2]}))
    refused(path, recipe, r"'r0' has \[1, 2\] as the right answer; expected 1 numbers")


def test_a_gap_where_the_training_data_had_none(tmp_path):
    (tmp_path / "old.csv").write_text("age,stays\n" + "".join(f"{n},{'yes' if n % 2 else 'no'}\n" for n in range(40)))
    (tmp_path / "new.csv").write_text("age,stays\n3,yes\n,no\n")
    recipe = table_recipe(tmp_path / "old.csv", target="stays", predicts="classes", numbers=("age",))
    refused(tmp_path / "new.csv", recipe, "row 2 has no value in column 'age'; the model accepts none there, because")


def test_running_text_has_no_right_answers(tmp_path):
    recipe = number_recipe(pipeline=NextTokenPipeline(vocabulary_size=10, max_length=4))
    with pytest.raises(SettingRefused, match="tiny-numbers predicts the next token of running text; there are no rows"):
        read_new_rows(tmp_path, recipe, None, None)
