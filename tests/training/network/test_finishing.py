from dataclasses import replace

import numpy as np
import pytest
import tf_keras
from rich.console import Console

from tests.training.tiny import image_recipe
from training.export.model_export import export_onnx, onnx_runner
from training.fit.fit import fit
from training.network.finishing import mean_over_mirror
from training.network.temperature_scaling import head_of
from training.recipe.recipe import OUTPUT_NAME
from training.runs.publishing import model_spec


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    recipe = replace(image_recipe(), finish=lambda _, model, signature, __: mean_over_mirror([model], signature))
    splits = recipe.data.load()
    feed = recipe.pipeline.bind(splits.train, classes=2)
    trained = fit(recipe, feed, splits, directory=tmp_path_factory.mktemp("run"), console=Console(quiet=True))
    return recipe, feed, splits, trained.model


def images(count=7):
    return np.random.default_rng(3).integers(0, 256, (count, 8, 8)).astype(np.uint8)


def test_the_finished_model_answers_the_mean_over_both_directions(finished):
    *_, model = finished
    [trained] = [layer for layer in model.layers if isinstance(layer, tf_keras.Model)]
    pixels = images()
    want = (trained(pixels).numpy() + trained(pixels[:, :, ::-1]).numpy()) / 2
    np.testing.assert_allclose(model(pixels).numpy(), want, atol=1e-6)
    np.testing.assert_allclose(model(pixels[:, :, ::-1]).numpy(), want, atol=1e-6)
    assert model.count_params() == trained.count_params()
    assert model.output_names == [OUTPUT_NAME]


def test_it_is_exported_to_onnx_unchanged(finished, tmp_path):
    recipe, feed, splits, model = finished
    spec = model_spec(recipe, feed, splits, model)
    path = tmp_path / "model.onnx"
    export_onnx(model, spec, path)
    pixels = images()
    answer = onnx_runner(path, spec)({"pixels": pixels})[OUTPUT_NAME]
    np.testing.assert_allclose(answer, model(pixels).numpy(), atol=1e-5)


def test_the_version_of_a_network_with_a_temperature_behind_its_end_keeps_the_name_of_its_output(finished, tmp_path):
    recipe, feed, splits, model = finished
    divided = head_of(model).divided(2.0)
    spec = model_spec(recipe, feed, splits, divided)
    assert [(tensor.name, tensor.shape) for tensor in spec.outputs] == [(OUTPUT_NAME, (2,))]
    export_onnx(divided, spec, tmp_path / "model.onnx")
    pixels = images()
    roots = np.sqrt(model(pixels).numpy())
    answer = onnx_runner(tmp_path / "model.onnx", spec)({"pixels": pixels})[OUTPUT_NAME]
    np.testing.assert_allclose(answer, roots / roots.sum(axis=1, keepdims=True), atol=1e-5)
