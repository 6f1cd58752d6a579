"""Rows with several labels: read, split, trained, published and served; mistakes are refused before the training."""

import json
from dataclasses import replace

import numpy as np
import pyarrow
import pytest
from PIL import Image
from pyarrow.parquet import write_table

from app.contract.golden import Golden
from tests.training.loading import load
from training.data.pipelines import TextPipeline
from training.errors import DataMissing, DataUnusable
from training.measure.label_sets import MultiLabel
from training.network.text_networks import TextNetwork, build_text_network
from training.recipe.fitting import Fitting, Loss, Optimizer
from training.recipe.recipe import Recipe, Targets
from training.recipe.recipe_data import read_recipe_data
from training.runs.catalogue import load_recipe
from training.sources.image_table import ImageTable
from training.sources.table import Table
from training.sources.text_table import TextTable

WORDS = {"late": "waiting", "broken": "cracked", "rude": "shouted"}


def complaints(path, *, separator="|", last=""):
    """A CSV of 180 short complaints with one to three tags each, of which ``rude`` is rare."""
    rng, lines = np.random.default_rng(8), ["message,tags,stars"]
    for row in range(180):
        tags = [tag for tag, share in (("late", 0.6), ("broken", 0.5), ("rude", 0.08)) if rng.random() < share]
        tags = tags or ["late"]
        words = rng.permutation([WORDS[tag] for tag in tags] + ["again", "order", str(row)])
        lines.append(f"{' '.join(words)},{separator.join(tags)},{len(tags)}")
    path.write_text("\n".join(lines) + "\n" + last)
    return path


@pytest.fixture
def file(tmp_path):
    return complaints(tmp_path / "complaints.csv")


def texts(path, **changes):
    return TextTable(**({"file": str(path), "text": "message", "target": "tags", "predicts": "labels"} | changes))


def recipe(path, **changes):
    settings = {
        "name": "complaints",
        "description": "What a complaint is about.",
        "data": texts(path),
        "pipeline": TextPipeline(vocabulary_size=60, max_length=10, bucket=4),
        "network": TextNetwork(embedding=8, units=8, dropout=0.0),
        "build": build_text_network,
        "task": MultiLabel(),
        "loss": Loss(name="binary-crossentropy"),
        "metrics": ("binary-accuracy",),
        "optimizer": Optimizer(learning_rate=0.03),
        "fitting": Fitting(epochs=3, batch_size=16, monitor="val_loss"),
    }
    return Recipe(**(settings | changes))


def test_every_part_has_every_label_and_a_row_keeps_its_set(file):
    splits = texts(file).load()
    assert splits.labels == ("broken", "late", "rude")
    parts = (splits.train, splits.validation, splits.read_test())
    assert sum(map(len, parts)) == 180
    for part in parts:
        assert part.labels.dtype == bool
        assert part.labels.any(axis=0).all()
        for text, has in zip(part.instances, part.labels, strict=True):
            assert {splits.labels[place] for place in np.flatnonzero(has)} == {
                tag for tag, word in WORDS.items() if word in text
            }
    rare = [part.labels[:, 2].mean() for part in parts]
    assert max(rare) < 2 * min(rare)


def test_another_separator_reads_the_same_sets(file, tmp_path):
    other = complaints(tmp_path / "other.csv", separator=" / ")
    one, same = texts(file).load(), texts(other, separator="/").load()
    assert one.labels == same.labels
    np.testing.assert_array_equal(one.train.labels, same.train.labels)


@pytest.mark.parametrize(
    ("last", "changes", "sentence"),
    [
        ("x,late||rude,1\n", {}, "row 181: 'late||rude' in column 'tags' has an empty label; write labels with '|'"),
        ("x,|,1\n", {}, "row 181: '|' in column 'tags' has an empty label"),
        ("x,,1\n", {}, "1 of 181 rows have no value in the target column 'tags'; the first is row 181"),
        ("x,unique,1\n", {}, "label 'unique' has 1 rows; at least 3 are required, one for each part of the data"),
        ("", {"separator": ""}, "the separator of the labels in 'tags' is empty"),
        ("", {"target": "message", "text": "tags", "separator": " "}, "is ' ' what separates them?"),
    ],
)
def test_sets_that_cannot_be_learned_are_refused(last, changes, sentence, tmp_path):
    path = complaints(tmp_path / "complaints.csv", last=last)
    with pytest.raises(DataUnusable) as caught:
        read_recipe_data(recipe(path, data=texts(path, split_seed=1, **changes)), synthetic=False)
    assert sentence in str(caught.value)


def parquet(path, tags):
    table = pyarrow.table({"message": [f"text {row}" for row in range(30)], "tags": tags * 10})
    write_table(table, path)
    return texts(path)


def test_lists_of_parquet_are_sets_of_labels(tmp_path):
    splits = parquet(tmp_path / "lists.parquet", [["late"], ["rude", "late"], ["a|b"]]).load()
    assert splits.labels == ("a|b", "late", "rude")
    assert np.unique(splits.train.labels, axis=0).tolist() == [[0, 1, 0], [0, 1, 1], [1, 0, 0]]


@pytest.mark.parametrize(
    ("tags", "sentence"),
    [
        ([b"late", b"rude", b"odd"], "row 1: column 'tags' has b'late', which is not a label"),
        ([["late"], [], ["rude"]], r"row 2: '\[\]' in column 'tags' has an empty label"),
        ([["late"], [None], ["rude"]], r"row 2: '\[None\]' in column 'tags' has an empty label"),
        ([{"late": 1}, {"late": 2}, {"late": 3}], "row 1: column 'tags' has {'late': 1}, which is not a label"),
    ],
)
def test_values_of_parquet_that_are_no_labels_are_refused_with_their_row(tags, sentence, tmp_path):
    with pytest.raises(DataUnusable, match=sentence):
        parquet(tmp_path / "odd.parquet", tags).load()


def test_rows_that_all_have_the_same_set_are_refused(tmp_path):
    (tmp_path / "same.csv").write_text("message,tags\n" + "".join(f"text {row},a|b\n" for row in range(9)))
    with pytest.raises(
        DataUnusable, match="all 9 rows have the labels a, b in 'tags'; there is nothing to distinguish"
    ):
        texts(tmp_path / "same.csv").load()


def test_classes_for_a_recipe_of_sets_are_refused_before_the_training(file):
    with pytest.raises(
        DataUnusable, match=r"the target has classes .*, but MultiLabel requires labels; change the task"
    ):
        read_recipe_data(recipe(file, data=texts(file, predicts="classes", target="stars")), synthetic=False)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"loss": Loss()}, "complaints: loss 'categorical-crossentropy' is not for MultiLabel; choose one of"),
        ({"metrics": ("accuracy",)}, "metric 'accuracy' counts rows with one class; for labels use 'binary-accuracy'"),
        ({"targets": Targets(test_accuracy=0.9)}, "targets.test_accuracy is for one class a row"),
    ],
)
def test_settings_for_one_class_are_refused_when_the_recipe_is_read(changes, sentence, file):
    with pytest.raises(ValueError, match=sentence):
        recipe(file, **changes)


def test_a_drafted_recipe_trains_publishes_and_serves_a_probability_for_each_label(file, tmp_path, command):
    made = command("new", "complaints", "--texts", str(file), "--target", "tags", "--separator", "|")
    assert made.code == 0, made.err
    assert "labels of a row        1 to 3, on average 1." in made.out
    done = command("run", "complaints", "--set", "fitting.epochs=12", "--publish")
    assert done.code == 0, done.err
    assert "not calibrated" not in done.out
    version = tmp_path / "models/complaints/1"
    figures = json.loads((version / "metrics.json").read_text())["test"]
    assert figures["micro_f1"] > 0.8
    assert set(figures["per_label"]) == {"broken", "late", "rude"}
    card = (version / "card.md").read_text()
    assert "| Test micro F1 |" in card
    assert "they do not sum to 1. A label is given from 0.5 up, so an answer may be several labels, or none." in card
    assert "Test exact match" in (tmp_path / "runs").glob("complaints/*/report.html").__next__().read_text()
    model = load(tmp_path / "models", "complaints")
    assert model.classes == ("broken", "late", "rude")
    answers = Golden.read(version).outputs["probabilities"]
    assert np.abs(answers.sum(axis=1) - 1).max() > 0.3
    ranked = model.ranked(answers[:1], top_k=3)[0]
    assert sorted(label for label, _ in ranked) == list(model.classes)
    retrained = command("retrain", "complaints", "--data", str(file))
    assert retrained.code == 2
    assert "complaints gives sets of labels; only models of one class or of numbers are retrained" in retrained.err


def test_a_table_and_its_draft_have_sets_too(file, command, tmp_path):
    splits = Table(file=str(file), target="tags", predicts="labels", numbers=("stars",)).load()
    assert splits.labels == ("broken", "late", "rude")
    made = command("new", "tags", "--table", str(file), "--target", "tags", "--separator", "|", "--weight", "stars")
    assert made.code == 2  # nothing is left to predict from: messages are all different
    assert "no column besides the target 'tags' is of use" in made.err
    made = command("new", "tags", "--table", str(file), "--target", "tags", "--separator", "|")
    assert made.code == 0, made.err
    assert "any of 3 labels: broken" in made.out
    written = (tmp_path / "recipes/tags.py").read_text()
    assert 'predicts="labels",' in written
    assert 'separator="|",' in written
    assert "task=MultiLabel()," in written


@pytest.fixture
def photos(tmp_path):
    """Pictures of which a CSV says what is bright: the left half, the right half, or both."""
    folder = tmp_path / "photos"
    folder.mkdir()
    lines = ["picture,bright,sure"]
    for row in range(36):
        left, right = (row % 3 != 0), (row % 3 != 1)
        pixels = np.full((40, 40), row, np.uint8)
        pixels[:, :20] += np.uint8(120 * left)
        pixels[:, 20:] += np.uint8(120 * right)
        Image.fromarray(pixels).save(folder / f"{row}.png")
        lines.append(f"{row}.png,{'|'.join(['left'] * left + ['right'] * right)},{1 + row % 2}")
    (folder / "labels.csv").write_text("\n".join(lines) + "\n")
    return folder / "labels.csv"


def test_pictures_with_a_table_of_labels_are_read_and_drafted(photos, command, tmp_path):
    options = ("--target", "bright", "--separator", "|", "--weight", "sure")
    made = command("new", "bright", "--images", str(photos), *options)
    assert made.code == 0, made.err
    assert "36 in column 'picture', left 24, right 24 in column 'bright'" in made.out
    drafted = load_recipe("bright")
    splits = read_recipe_data(drafted, synthetic=False)
    assert (splits.labels, splits.train.instances.shape[1:]) == (("left", "right"), (32, 32, 3))
    assert set(splits.train.weights) == {1, 2}
    assert isinstance(drafted.task, MultiLabel)


def test_rows_without_their_picture_or_with_other_labels_for_it_are_refused(photos):
    source = ImageTable(file=str(photos), picture="picture", target="bright", predicts="labels")
    text = photos.read_text()
    photos.write_text(f"{text}gone.png,left,1\n")
    with pytest.raises(DataMissing, match=r"row 37: there is no file .*gone.png; paths are relative to the folder"):
        source.load()
    photos.write_text(f"{text}{'a text ' * 50},left,1\n")
    with pytest.raises(DataMissing, match="row 37: there is no file"):
        source.load()
    photos.write_text(f"{text}0.png,left,1\n")
    with pytest.raises(DataUnusable, match="rows 1 and 37 have the same picture, 0"):
        source.load()
    with pytest.raises(DataUnusable, match="'picture' is both the picture and the target"):
        replace(source, target="picture").load()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--texts", "complaints.csv", "--separator", ""), "--separator is empty; give the character"),
        (("--images", ".", "--separator", "|"), "--separator is for --texts and --table; the classes of pictures are"),
        (("--texts", "complaints.csv", "--weight", "star"), "has no column 'star'; did you mean 'stars'?"),
        (("--texts", "complaints.csv", "--weight", "tags"), "column 'tags' cannot be the weight and something else"),
        (("--images", "complaints.csv"), "has no column with names of picture files"),
    ],
)
def test_options_of_new_that_do_not_fit_are_one_sentence(arguments, sentence, file, command):
    made = command("new", "x", *arguments)
    assert made.code == 2
    assert sentence in made.err
