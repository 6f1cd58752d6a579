import json

import pytest
from rich.console import Console

from app.contract.golden import Golden
from app.contract.manifest import verify_manifest
from app.contract.model_spec import ModelSpec
from tests.training.pages import Page
from tests.training.tiny import build_bag, image_recipe, text_recipe
from training.errors import RunNotFound, SettingRefused
from training.recipe.fitting import Fitting
from training.recipe.recipe import Targets
from training.runs.record import Plan
from training.runs.run import run, validate


def read(path):
    return json.loads(path.read_text(encoding="utf-8"))


def test_a_batch_larger_than_the_training_part_is_refused_before_anything_is_written(tmp_path, console):
    recipe = image_recipe(fitting=Fitting(epochs=1, batch_size=500))
    with pytest.raises(SettingRefused, match=r"^fitting\.batch_size is 500; it must be at most 128, the number of"):
        run(recipe, Plan(), directory=tmp_path / "run", console=console)
    assert console.file.getvalue() == ""
    assert not (tmp_path / "run").exists()


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """The recipe, the directory of a run and of its models, and the outcome of the run."""
    place = tmp_path_factory.mktemp("published")
    recipe = image_recipe(epochs=6)
    plan = Plan(overrides=("fitting.epochs=6",), repository=place / "models", command="python -m training run tiny")
    return recipe, place, run(recipe, plan, directory=place / "run", console=Console(quiet=True))


def test_a_published_version_carries_the_contract_the_figures_and_the_card(published):
    recipe, place, outcome = published
    version = outcome.version
    assert version == place / "models" / "tiny-images" / "1"
    verify_manifest(version)
    spec = ModelSpec.read(version)
    assert spec.postprocessing.labels == ("dark", "bright")
    assert spec.inputs[0].shape == (8, 8)
    assert spec.trained_on == "tiny (drawn)"
    assert Golden.read(version).rows >= 64
    metrics = read(version / "metrics.json")
    assert metrics["test"]["accuracy"] == outcome.test.accuracy >= 0.9
    assert metrics["dataset"]["counts"] == {"train": 128, "validation": 40, "test": 40}
    assert metrics["overrides"] == ["fitting.epochs=6"]
    assert metrics["settings"]["optimizer.learning_rate"] == 0.02
    assert metrics["command"] == "python -m training run tiny"
    assert metrics["hardware"]["cpu_count"] >= 1
    assert metrics["packages"]["tensorflow"]
    assert {"data", "preparation", "training", "validation", "test"} <= metrics["seconds"].keys()
    assert metrics["parameters"] == 8 * 8 * 8 + 8 + 8 * 2 + 2
    baseline = read(version / "baseline.json")
    assert baseline["inputs"]["pixels"]["rows"] == 128
    assert baseline["predictions"]["label_shares"].keys() == {"dark", "bright"}
    card = (version / "card.md").read_text()
    assert f"{outcome.test.accuracy:.4f} on 40 rows" in card
    assert "python -m training run tiny-images --set fitting.epochs=6 --publish" in card
    assert recipe.data.test_reads == [1]


def test_a_second_run_adds_the_next_version(published, tmp_path, console):
    _, place, first = published
    second = run(image_recipe(epochs=1), Plan(repository=place / "models"), directory=tmp_path, console=console)
    assert [first.version.name, second.version.name] == ["1", "2"]


def test_a_text_model_is_published_with_the_vocabulary_of_its_training_part(tmp_path, console):
    plan = Plan(dataset="synthetic", repository=tmp_path / "models")
    version = run(text_recipe(build=build_bag), plan, directory=tmp_path / "run", console=console).version
    words = (version / "vocabulary.txt").read_text().split()
    assert set(words) == {"a", "the", "bad", "dull", "poor", "good", "fine", "great"}
    assert ModelSpec.read(version).inputs[0].maximum == len(words) + 1


def test_below_the_target_the_test_set_is_not_touched_but_by_force_which_is_reported(tmp_path, console):
    recipe = image_recipe(epochs=1, target=0.999)
    plan = Plan(test=True, repository=tmp_path / "models")
    outcome = run(recipe, plan, directory=tmp_path / "run", console=console)
    assert recipe.data.test_reads == []
    assert outcome.test is None
    assert outcome.version is None
    assert not (tmp_path / "models").exists()
    assert "is below 1.0040" in outcome.gate
    assert read(tmp_path / "run" / "metrics.json")["test"] is None

    forced = run(recipe, Plan(test=True, force=True), directory=tmp_path / "run", console=console)
    assert recipe.data.test_reads == [1]
    assert "tested anyway, by --force" in read(tmp_path / "run" / "metrics.json")["gate"]
    assert forced.test.rows == 40


def test_more_parameters_than_the_target_are_reported(tmp_path, console):
    recipe = image_recipe(epochs=1, targets=Targets(test_accuracy=0.5, parameters=500, minutes=1))
    run(recipe, Plan(), directory=tmp_path, console=console)
    assert "538 parameters are more than the target of 500 parameters" in console.file.getvalue()
    assert "minutes are more" not in console.file.getvalue()


def test_without_test_or_publish_the_test_set_is_not_touched_and_a_run_is_tested_later_once(tmp_path, console):
    recipe = image_recipe(epochs=6)
    run(recipe, Plan(), directory=tmp_path, console=console)
    assert recipe.data.test_reads == []
    first = run(recipe, Plan(test=True), directory=tmp_path, console=console)
    again = run(recipe, Plan(test=True), directory=tmp_path, console=console)
    assert recipe.data.test_reads == [1]
    assert again.test == first.test
    assert console.file.getvalue().count("epoch   6/6") == 1


def test_a_run_reports_in_its_directory(published):
    directory = published[1] / "run"
    for name in ("curves.png", "confusion.png", "calibration.png"):
        assert (directory / name).read_bytes().startswith(b"\x89PNG")
    page = Page(directory / "report.html")
    drawn = ["Training", "Confusion matrix", "ROC curve", "Calibration"]
    assert [name.partition(",")[0] for name, _ in page.images][:4] == drawn
    assert page.row("classes", "dark")[3].isdecimal()
    config = read(directory / "config.json")
    assert config["recipe"] == "tiny-images"
    assert config["settings"]["fitting.seed"] == 0


def test_a_run_s_weights_can_be_validated_again(published, tmp_path):
    recipe, place, outcome = published
    assert validate(recipe, "real", directory=place / "run") == outcome.validation
    with pytest.raises(RunNotFound, match=r"has no weights\.npz"):
        validate(recipe, "real", directory=tmp_path / "elsewhere")
