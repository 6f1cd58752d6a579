import json

import numpy as np
import pytest
from rich.console import Console

from app.contract.golden import Golden
from app.contract.model_spec import ModelSpec
from training.data.pipelines import NumberPipeline
from training.datasets.splits import Examples
from training.export.model_export import onnx_runner
from training.overrides import apply_overrides
from training.recipe.recipe import Signature
from training.recipes.hello_world import RECIPE, Line
from training.runs.record import Plan
from training.runs.run import run


@pytest.fixture(scope="module")
def outcome(tmp_path_factory):
    """The recipe as it is, trained and published."""
    import io

    directory = tmp_path_factory.mktemp("hello-world")
    plan = Plan(test=True, repository=directory / "models")
    return run(RECIPE, plan, directory=directory / "run", console=Console(file=io.StringIO(), width=200))


def figures(outcome) -> dict[str, float]:
    return {figure.name: figure.value for figure in outcome.findings.figures}


def by_hand(weight: float, bias: float) -> tuple[float, float]:
    """500 steps of gradient descent on the mean squared error of all six pairs, learning rate 0.01."""
    x = np.arange(-1.0, 5.0)
    for _ in range(500):
        error = weight * x + bias - (2 * x - 1)
        weight, bias = weight - 0.01 * 2 * np.mean(error * x), bias - 0.01 * 2 * np.mean(error)
    return weight, bias


def test_the_prediction_for_10_is_almost_19(outcome):
    assert 18.9 < figures(outcome)["f(10)"] < 19.1
    assert outcome.findings.missed == ()


def test_the_rule_is_that_of_500_steps_by_hand(outcome):
    points = RECIPE.data.load().train
    feed = NumberPipeline().bind(points, classes=0)
    from training.fit.stages import build_model

    start, _ = build_model(RECIPE, feed, classes=0).get_weights()
    weight, bias = by_hand(float(start[0, 0]), 0.0)
    assert figures(outcome)["weight"] == pytest.approx(weight, abs=1e-4)  # float32, 500 steps
    assert figures(outcome)["bias"] == pytest.approx(bias, abs=1e-4)
    assert figures(outcome)["f(10)"] == pytest.approx(10 * weight + bias, abs=1e-3)


def test_it_learns_from_the_six_pairs_of_the_course_only():
    splits = Line().load()
    assert splits.train.instances.tolist() == [[-1], [0], [1], [2], [3], [4]]
    assert splits.train.labels.tolist() == [[-3], [-1], [1], [3], [5], [7]]
    assert splits.train.instances.dtype == splits.train.labels.dtype == np.float32
    assert len(splits.validation) == len(splits.read_test()) == 0
    assert isinstance(splits.validation, Examples)
    assert RECIPE.data.synthetic().train.labels.tolist() == splits.train.labels.tolist()


def test_it_is_built_and_trained_as_taught(outcome):
    from training.network.losses import build_loss
    from training.network.optimizers import build_optimizer

    feed = RECIPE.pipeline.bind(RECIPE.data.load().train, classes=0)
    _, layer = RECIPE.build(RECIPE.network, Signature(input=feed.input, classes=0)).layers
    config = layer.get_config()
    assert (type(layer).__name__, config["units"], config["activation"], config["use_bias"]) == (
        "Dense",
        1,
        "linear",
        True,
    )
    optimizer = build_optimizer(RECIPE.optimizer, steps=500)
    assert type(optimizer).__name__ == "SGD"
    assert optimizer.momentum == 0
    assert float(optimizer.learning_rate) == pytest.approx(0.01)
    assert type(build_loss(RECIPE.loss)).__name__ == "MeanSquaredError"
    history = (outcome.directory / "history.csv").read_text().splitlines()
    assert len(history) == 1 + 500
    assert list((outcome.directory / "tensorboard").rglob("events.out.tfevents.*"))


def test_the_published_unit_takes_and_gives_one_number(outcome):
    spec = ModelSpec.read(outcome.version)
    assert (spec.preprocessing, spec.postprocessing) == (None, None)
    assert [(tensor.name, tensor.dtype, tensor.shape) for tensor in (*spec.inputs, *spec.outputs)] == [
        ("x", "float32", (1,)),
        ("values", "float32", (1,)),
    ]
    assert Golden.read(outcome.version).rows >= 64
    answer = onnx_runner(outcome.version / "model.onnx", spec)({"x": np.array([[10]], np.float32)})["values"]
    assert float(answer[0, 0]) == pytest.approx(figures(outcome)["f(10)"], abs=1e-4)  # float32 near 19
    metrics = json.loads((outcome.version / "metrics.json").read_text())
    assert (metrics["validation"], metrics["test"], metrics["parameters"]) == (None, None, 2)
    assert [figure["holds"] for figure in metrics["findings"]] == [True, None, None]


def test_a_unit_without_a_bias_has_one_figure_less(tmp_path):
    console = Console(quiet=True)
    recipe = apply_overrides(RECIPE, ["network.bias=false", "fitting.epochs=50"])
    outcome = run(recipe, Plan(), directory=tmp_path, console=console)
    assert [figure.name for figure in outcome.findings.figures] == ["f(10)", "weight"]
