"""``training run --config FILE``: the settings of an earlier run again."""

import csv
import json

import pytest

RECIPE = """
from dataclasses import replace
from tests.training.tiny import *
class Data(TinyData):
    def synthetic(self):
        return replace(self.load(), name="drawn", form="synthetic")
RECIPE = image_recipe(epochs=2, target=0.1, data=Data(draw=bright_images))
"""
CHANGES = (
    "--set",
    "network.layers=4,2",
    "--set",
    "network.width=5",
    "--set",
    "optimizer.clip_norm=1.5",
    "--epochs",
    "1",
)


@pytest.fixture
def earlier(write_recipe, command, tmp_path):
    """config.json of a run with overrides of several types, on synthetic data."""
    write_recipe("tiny_images.py", RECIPE)
    ended = command("run", "tiny-images", *CHANGES, "--dataset", "synthetic", "--run-id", "first")
    assert ended.code == 0, ended.err
    return tmp_path / "runs/tiny-images/first/config.json"


def curve(path):
    with path.open(newline="") as file:
        return [{key: value for key, value in row.items() if key != "seconds"} for row in csv.DictReader(file)]


def test_a_run_with_the_config_of_another_has_its_settings_its_data_set_and_its_curve(earlier, command, tmp_path):
    ended = command("run", "tiny-images", "--config", str(earlier), "--run-id", "again")
    assert ended.code == 0, ended.err
    first, again = (
        json.loads((tmp_path / f"runs/tiny-images/{run}/config.json").read_text()) for run in ("first", "again")
    )
    assert again["settings"] == first["settings"]
    assert again["dataset"] == "synthetic"
    assert sorted(again["overrides"]) == sorted(first["overrides"])
    assert curve(earlier.with_name("history.csv")) == curve(tmp_path / "runs/tiny-images/again/history.csv")


def test_options_of_the_command_line_win(earlier, command, tmp_path):
    options = ("--set", "network.width=7", "--epochs", "2", "--dataset", "real", "--run-id", "again")
    ended = command("run", "tiny-images", "--config", str(earlier.parent), *options)
    assert ended.code == 0, ended.err
    again = json.loads((tmp_path / "runs/tiny-images/again/config.json").read_text())
    assert again["dataset"] == "real"
    assert again["settings"]["network.width"] == 7
    assert again["settings"]["fitting.epochs"] == 2
    assert again["settings"]["network.layers"] == [4, 2]
    assert again["settings"]["optimizer.clip_norm"] == 1.5


def test_what_the_recipe_sets_otherwise_since_then_is_as_it_was_in_the_run(earlier, command, write_recipe, tmp_path):
    import sys

    write_recipe("tiny_images.py", RECIPE.replace("epochs=2", "epochs=2, network=Network(dropout=0.25)"))
    sys.modules.pop("training.recipes.tiny_images")
    ended = command("run", "tiny-images", "--config", str(earlier), "--run-id", "again")
    assert ended.code == 0, ended.err
    again = json.loads((tmp_path / "runs/tiny-images/again/config.json").read_text())
    assert again["settings"]["network.dropout"] == 0.0
    assert "network.dropout=0.0" in again["overrides"]


def test_the_config_of_a_recipe_file_is_enough_to_find_the_file(command, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    file = tmp_path / "elsewhere/tiny_images.py"
    file.write_text(RECIPE)
    assert command("run", str(file), "--epochs", "1", "--run-id", "first").code == 0
    ended = command("run", "tiny-images", "--config", "runs/tiny-images/first", "--run-id", "again")
    assert ended.code == 0, ended.err


@pytest.mark.parametrize(
    ("document", "sentence"),
    [
        ("{", "config.json cannot be read as JSON"),
        ("[]", "config.json must be a JSON object"),
        ('{"recipe": "tiny-images", "dataset": "real"}', "'settings' must be an object"),
        (
            '{"recipe": "tiny-images", "dataset": "other", "settings": {}}',
            "'dataset' must be real or synthetic, not 'other'",
        ),
        ('{"recipe": "mnist", "dataset": "real", "settings": {}}', "is of a run of mnist, not of tiny-images"),
        (
            '{"recipe": "tiny-images", "dataset": "real", "settings": {"network.widht": 3}}',
            "config.json: 'network.widht' is not a setting; did you mean --set network.width=3?",
        ),
        (
            '{"recipe": "tiny-images", "dataset": "real", "settings": {"network.width": "wide"}}',
            "config.json: --set network.width=wide: expected a whole number",
        ),
    ],
)
def test_a_config_that_does_not_fit_is_refused_in_one_sentence(document, sentence, write_recipe, command, tmp_path):
    write_recipe("tiny_images.py", RECIPE)
    (tmp_path / "config.json").write_text(document)
    ended = command("run", "tiny-images", "--config", "config.json")
    assert ended.code == 2
    assert sentence in ended.err
    assert not (tmp_path / "runs").exists()


def test_a_config_that_does_not_exist_and_one_with_resume_are_refused(write_recipe, command):
    write_recipe("tiny_images.py", RECIPE)
    missing = command("run", "tiny-images", "--config", "nowhere.json")
    assert missing.code == 2
    assert "nowhere.json does not exist; --config takes the config.json of a run" in missing.err
    both = command("run", "tiny-images", "--config", "nowhere.json", "--resume")
    assert both.code == 2
    assert "--resume continues with the settings of its own run" in both.err
