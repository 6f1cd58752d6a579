"""Recipes that find numbers: trained, measured and published like the others, also without parts to measure on."""

import json

import numpy as np
import pytest

from app.contract.golden import Golden
from app.contract.manifest import verify_manifest
from app.contract.model_spec import ModelSpec
from tests.training.loading import load
from tests.training.tiny import Given, number_recipe, plane_points, train
from training.data.number_batches import NumberFeed
from training.data.pipelines import NumberPipeline
from training.data.settings import Span
from training.datasets.splits import Examples
from training.errors import SettingRefused
from training.recipe.fitting import Fitting, Loss, Optimizer
from training.runs.record import Plan
from training.runs.run import run, validate


def read(path):
    return json.loads(path.read_text(encoding="utf-8"))


def test_without_validation_and_test_part_the_last_weights_are_kept_and_published(tmp_path, console):
    recipe = number_recipe()
    plan = Plan(repository=tmp_path / "models")
    outcome = run(recipe, plan, directory=tmp_path / "run", console=console)
    assert (outcome.validation, outcome.test) == (None, None)
    assert outcome.gate == "the recipe sets no target; there is no test part"
    assert outcome.metrics["kept_epoch"] == outcome.metrics["epochs"] == 5
    version = outcome.version
    verify_manifest(version)
    spec = ModelSpec.read(version)
    assert (spec.preprocessing, spec.postprocessing) == (None, None)
    assert [(tensor.name, tensor.shape) for tensor in (*spec.inputs, *spec.outputs)] == [("x", (2,)), ("values", (1,))]
    golden = Golden.read(version)
    assert golden.rows == 64
    xs = golden.inputs["x"]
    wanted = xs @ [[1.0], [-2.0]] + 0.5
    np.testing.assert_allclose(golden.outputs["values"], wanted, atol=0.1)  # after 5 epochs; it is a plane
    assert golden.tolerance_for("CPUExecutionProvider") == pytest.approx(1e-5 * max(1, np.abs(wanted).max()), rel=0.05)
    card = (version / "card.md").read_text()
    assert "| Test part | not measured |" in card
    assert "weights of epoch 5" in card
    baseline = read(version / "baseline.json")
    assert baseline["inputs"]["x"]["rows"] == baseline["predictions"]["rows"] == 64
    assert load(tmp_path / "models", "tiny-numbers").classes == ()


def test_with_all_parts_the_best_weights_are_kept_and_measured(tmp_path, console):
    data = Given(train=plane_points(64, 1), validation=plane_points(20, 2), test=plane_points(10, 3))
    recipe = number_recipe(data=data)
    outcome = run(recipe, Plan(test=True), directory=tmp_path, console=console)
    metrics = read(tmp_path / "metrics.json")
    assert metrics["dataset"]["counts"] == {"train": 64, "validation": 20, "test": 10}
    for part in ("validation", "test"):
        figures = metrics[part]
        assert figures["rmse"] == pytest.approx(figures["mse"] ** 0.5)
        assert 0 < figures["mae"] <= figures["rmse"] < 0.1
    assert "Test root mean squared error" in (tmp_path / "report.html").read_text()
    assert validate(recipe, "real", directory=tmp_path) == outcome.validation


def test_numbers_far_from_1_are_published_with_a_tolerance_in_proportion(tmp_path, console):
    nothing = plane_points(0, 0)
    data = Given(train=plane_points(64, 1, scale=1e5), validation=nothing, test=nothing)
    outcome = run(number_recipe(data=data), Plan(repository=tmp_path), directory=tmp_path / "run", console=console)
    golden = Golden.read(outcome.version)
    largest = float(np.abs(golden.outputs["values"]).max())
    assert largest > 1e5
    assert golden.tolerance_for("CPUExecutionProvider") == pytest.approx(1e-5 * largest)
    assert read(outcome.version / "metrics.json")["export"]["parity"]["tolerance"] == pytest.approx(1e-5 * largest)


@pytest.mark.parametrize("loss", ["mean-squared-error", "mean-absolute-error", "root-mean-squared-error"])
def test_each_loss_of_numbers_finds_the_plane(loss, tmp_path, console):
    recipe = number_recipe(
        loss=Loss(name=loss),
        optimizer=Optimizer(name="adam", learning_rate=0.1),
        fitting=Fitting(epochs=20, batch_size=16, keep="last"),
    )
    trained = train(recipe, tmp_path, console)
    kernel, bias = trained.model.get_weights()
    np.testing.assert_allclose([*kernel[:, 0], bias[0]], [1, -2, 0.5], atol=0.15)  # training has not converged yet


def test_patience_without_a_validation_part_is_refused(tmp_path, console):
    recipe = number_recipe(fitting=Fitting(epochs=5, batch_size=16, monitor="val_loss", patience=2))
    with pytest.raises(SettingRefused, match="patience waits for a better val_loss, but given has no validation part"):
        train(recipe, tmp_path, console)


def test_the_best_weights_by_an_accuracy_that_is_not_measured_are_refused(tmp_path, console):
    data = Given(train=plane_points(64, 1), validation=plane_points(20, 2), test=plane_points(0, 3))
    recipe = number_recipe(data=data, fitting=Fitting(epochs=5, batch_size=16))
    with pytest.raises(SettingRefused, match=r"val_accuracy is not among the metrics.*set fitting\.monitor=val_loss"):
        train(recipe, tmp_path, console)


def batches(feed, examples, **span):
    settings = {"epochs": 1, "batch_size": 3, "seed": 0} | span
    return [(x.numpy(), y.numpy()) for x, y in feed.training(examples, Span(**settings))]


def test_an_epoch_gives_each_row_once_with_its_target_and_a_resumed_run_the_same():
    examples = plane_points(9, 1)
    feed = NumberPipeline().bind(examples, classes=0)
    assert isinstance(feed, NumberFeed)
    whole = batches(feed, examples, epochs=2)
    assert [x.shape for x, _ in whole] == [(3, 2)] * 6
    for epoch in (whole[:3], whole[3:]):
        rows = np.concatenate([np.hstack([x, y]) for x, y in epoch])
        wanted = np.hstack([examples.instances, examples.labels])
        np.testing.assert_array_equal(rows[np.lexsort(rows.T)], wanted[np.lexsort(wanted.T)])
    assert not np.array_equal(whole[0][0], whole[3][0])
    for (x, y), (again_x, again_y) in zip(whole[3:], batches(feed, examples, epochs=2, first_epoch=1), strict=True):
        np.testing.assert_array_equal(x, again_x)
        np.testing.assert_array_equal(y, again_y)


def test_the_columns_of_numbers_are_described():
    feed = NumberPipeline().bind(plane_points(2, 1), classes=0)
    columns = np.float32([[1, 5], [3, 5]])
    assert feed.statistics(Examples(instances=columns, labels=columns)) == {
        "kind": "numbers",
        "rows": 2,
        "mean": [2.0, 5.0],
        "standard_deviation": [1.0, 0.0],
        "minimum": [1.0, 5.0],
        "maximum": [3.0, 5.0],
    }
