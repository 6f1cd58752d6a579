import dataclasses
import html
import json

import numpy as np
import pytest
from rich.console import Console

from tests.training.tiny import build_bag, image_recipe, number_recipe, text_recipe, train
from training.fit.gradient_warnings import Look, warnings_of
from training.fit.run_files import read_weights
from training.recipe.fitting import Fitting, Optimizer
from training.recipe.recipe import OUTPUT_NAME, Stage
from training.runs.record import Plan
from training.runs.run import run


def network_of(*make_layers):
    """A builder of an image classifier with these layers before the last one."""

    def build(network, signature):
        import tf_keras
        from tf_keras import layers

        pixels = layers.Input(signature.input.shape, dtype="uint8", name=signature.input.name)
        x = layers.Flatten()(layers.Rescaling(1 / 50, offset=-2)(pixels))
        for make in make_layers:
            x = make(layers)(x)
        return tf_keras.Model(pixels, layers.Dense(signature.classes, activation="softmax", name=OUTPUT_NAME)(x))

    return build


DEAD = network_of(lambda layers: layers.Dense(8, "relu", bias_initializer=constant(-1e4), name="below_zero"))
DEAD_LAYER = network_of(
    lambda layers: layers.Dense(8, "relu", name="alive"),
    lambda layers: layers.Dense(8, bias_initializer=constant(-1e4)),
    lambda layers: layers.ReLU(name="rectified"),
)
DEEP = network_of(*[lambda layers, n=n: layers.Dense(16, "sigmoid", name=f"sigmoid_{n}") for n in range(1, 11)])
LOUD = network_of(
    lambda layers: layers.Dense(8, kernel_initializer="random_normal", name="quiet"),
    lambda layers: layers.Dense(8, kernel_initializer=normal(1e4), name="loud"),
    lambda layers: layers.Dense(8, kernel_initializer="random_normal", name="after"),
)
RESTLESS = network_of(
    lambda layers: layers.Dense(16, use_bias=False),
    lambda layers: layers.BatchNormalization(),
    lambda layers: layers.ReLU(),
    lambda layers: layers.Dropout(0.4),
)


def constant(value):
    import tf_keras

    return tf_keras.initializers.Constant(value)


def normal(deviation):
    import tf_keras

    return tf_keras.initializers.RandomNormal(stddev=deviation, seed=2)


def ran(recipe, tmp_path, console):
    """Warnings in metrics.json; asserts that each is also in the report and the card, and was printed once."""
    run(recipe, Plan(), directory=tmp_path, console=console)
    warnings = json.loads((tmp_path / "metrics.json").read_text())["warnings"]
    printed = console.file.getvalue()
    page = html.unescape((tmp_path / "report.html").read_text())
    assert printed.count("warning:") == len(warnings)
    for warning in warnings:
        assert printed.count(warning) == 1
        assert warning in page
        assert f"| Warning | {warning} |" in (tmp_path / "card.md").read_text()
    return warnings


@pytest.mark.parametrize(("build", "layer"), [(DEAD, "below_zero"), (DEAD_LAYER, "rectified")])
def test_dead_relus_are_reported_with_their_layer_and_the_remedy(build, layer, tmp_path, console):
    [warning] = ran(image_recipe(build=build, epochs=4), tmp_path, console)
    assert warning.startswith(f"100% of the ReLU units of layer '{layer}' are dead")
    assert "lower optimizer.learning_rate, start with he_normal, or use leaky ReLU" in warning


def test_a_gradient_that_vanishes_is_warned_of_with_its_layer_and_the_cure(tmp_path, console):
    [warning] = ran(image_recipe(build=DEEP, epochs=2), tmp_path, console)
    assert warning.startswith("vanishing gradient: that of layer 'sigmoid_1' (")
    assert f"of that of layer '{OUTPUT_NAME}'; use ReLU instead of sigmoid or tanh, batch normalisation" in warning


def test_a_gradient_that_explodes_is_warned_of_with_its_layer_and_the_cure(tmp_path, console):
    [warning] = ran(image_recipe(build=LOUD, epochs=2), tmp_path, console)
    assert warning.startswith("exploding gradient: its norm is ")
    assert ", largest in layer 'after'; lower optimizer.learning_rate, set optimizer.clip_norm, or start" in warning


@pytest.mark.parametrize(
    "recipe",
    [image_recipe(epochs=4), text_recipe(build=build_bag), number_recipe()],
    ids=["images", "texts", "numbers"],
)
def test_a_healthy_network_is_not_warned_of(recipe, tmp_path, console):
    assert ran(recipe, tmp_path, console) == []


@pytest.mark.parametrize("build", [RESTLESS, DEAD], ids=["restless", "dead"])
def test_watching_does_not_change_one_bit_of_the_weights(build, tmp_path, console):
    watched = image_recipe(build=build, fitting=Fitting(epochs=3, batch_size=16, keep="last"))
    unwatched = dataclasses.replace(watched, fitting=dataclasses.replace(watched.fitting, watch=False))
    train(watched, tmp_path / "watched", console)
    printed = console.file.getvalue()
    train(unwatched, tmp_path / "unwatched", console)
    assert ("warning:" in printed) == (build is DEAD)
    assert "warning:" not in console.file.getvalue()[len(printed) :]
    weights = (read_weights(tmp_path / name / "weights.npz") for name in ("watched", "unwatched"))
    for one, other in zip(*weights, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_warning_of_a_stage_is_in_the_record_with_the_stage_s_name(tmp_path, console):
    stage = Stage(name="early", build=DEAD, shared_layers=(), fitting=Fitting(epochs=1, batch_size=16, keep="last"))
    run(image_recipe(epochs=1, stages=(stage,)), Plan(), directory=tmp_path, console=console)
    [warning] = json.loads((tmp_path / "metrics.json").read_text())["warnings"]
    assert warning.startswith("stage early: 100% of the ReLU units of layer 'below_zero' are dead")


class Stopping(Console):
    """Ctrl-C in place of the line of the third epoch."""

    def print(self, *objects, **options):
        if any("epoch   3/" in str(each) for each in objects):
            raise KeyboardInterrupt
        super().print(*objects, **options)


def test_a_resumed_run_does_not_repeat_earlier_warnings(tmp_path, console):
    half_dead = network_of(
        lambda layers: layers.Dense(9, "relu", bias_initializer=half_constant, name="half"),
    )
    slow = Optimizer(name="sgd", learning_rate=1e-3)
    recipe = image_recipe(build=half_dead, optimizer=slow, epochs=4, target=0.0)
    with pytest.raises(KeyboardInterrupt):
        run(recipe, Plan(), directory=tmp_path, console=Stopping(file=console.file, width=200))
    assert console.file.getvalue().count("warning:") == 1
    [warning] = ran(recipe, tmp_path, console)
    assert "resuming after epoch 2 of 4" in console.file.getvalue()
    assert "are dead" in warning


def half_constant(shape, dtype=None):
    return np.where(np.arange(shape[0]) < 6, -1e4, 0.0).astype(np.float32)


def test_a_gradient_of_zero_causes_no_division():
    assert warnings_of(Look(dead={}, gradients={"first": 0.0, "last": 0.0}, norm=0.0)) == {}
    assert warnings_of(Look(dead={}, gradients={}, norm=0.0)) == {}


def test_a_gradient_that_is_not_a_number_explodes():
    found = warnings_of(Look(dead={}, gradients={"first": float("nan"), "last": 1.0}, norm=float("nan")))
    assert found["exploding"].startswith("exploding gradient: its norm is nan, largest in layer 'first'; ")
