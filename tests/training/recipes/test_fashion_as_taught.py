"""The three networks of the course on Fashion-MNIST: every setting is the one that is taught."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from app.contract.tensor_spec import TensorSpec
from tests.training.makers_files import write_makers_files
from training.data.settings import Span
from training.fit.fit import fit
from training.network.optimizers import build_optimizer
from training.overrides import apply_overrides
from training.recipe.recipe import Signature
from training.runs.catalogue import load_recipe
from training.runs.record import Plan
from training.runs.run import run

SIGNATURE = Signature(input=TensorSpec(name="pixels", dtype="uint8", shape=(28, 28)), classes=10)
TAUGHT = {  # hidden units, optimiser, rows of a batch, epochs, rows of 60 that validate
    "fashion-mnist-mlp-128": ((128,), "Adam", 32, 10, 0),
    "fashion-mnist-mlp-512": ((512,), "Adam", 128, 5, 0),
    "fashion-mnist-functional": ((64, 64), "RMSprop", 64, 5, 12),
}


@pytest.mark.parametrize("name", TAUGHT)
def test_the_layers_are_those_that_are_taught(name):
    recipe = load_recipe(name)
    model = recipe.build(recipe.network, SIGNATURE)
    assert [type(layer).__name__ for layer in model.layers[:3]] == ["InputLayer", "Rescaling", "Flatten"]
    assert model.layers[1].get_config()["scale"] == 1 / 255
    dense = [layer.get_config() for layer in model.layers[3:]]
    assert all(type(layer).__name__ == "Dense" for layer in model.layers[3:])
    units = TAUGHT[name][0]
    assert [(layer["units"], layer["activation"]) for layer in dense] == [
        *((n, "relu") for n in units),
        (10, "softmax"),
    ]
    assert all(layer["kernel_initializer"]["class_name"] == "GlorotUniform" for layer in dense)
    assert all(layer["use_bias"] and layer["kernel_regularizer"] is None for layer in dense)
    widths = [784, *units, 10]
    assert model.count_params() == sum((before + 1) * after for before, after in pairwise(widths))


@pytest.mark.parametrize("name", TAUGHT)
def test_the_optimiser_is_keras_s_with_its_defaults(name):
    import tf_keras

    recipe = load_recipe(name)
    found = build_optimizer(recipe.optimizer, steps=100)
    wanted = getattr(tf_keras.optimizers, TAUGHT[name][1])()
    assert isinstance(found, type(wanted))
    assert recipe.optimizer.schedule.name == "constant"
    assert float(found.learning_rate) == pytest.approx(1e-3)
    settings = ("epsilon", "rho", "momentum", "centered", "beta_1", "beta_2", "clipnorm", "global_clipnorm")
    for setting in (*settings, "weight_decay", "ema_momentum", "use_ema"):
        assert getattr(found, setting, None) == getattr(wanted, setting, None)


@pytest.mark.parametrize("name", TAUGHT)
def test_it_learns_from_all_images_or_all_but_the_last_fifth_for_the_epochs_taught(
    name, data_directory, tmp_path, console
):
    import tf_keras

    _, optimizer, batch_size, epochs, validate = TAUGHT[name]
    recipe = load_recipe(name)
    recipe = replace(recipe, data=replace(recipe.data, archives=write_makers_files(data_directory)))
    splits = recipe.data.load()
    assert sorted(splits.train.instances[:, 0, 0]) == list(range(60 - validate))
    assert splits.validation.instances[:, 0, 0].tolist() == list(range(60 - validate, 60))
    assert (recipe.fitting.batch_size, recipe.fitting.epochs) == (batch_size, epochs)
    recipe = apply_overrides(recipe, ["fitting.batch_size=16"])  # there are 60 images
    feed = recipe.pipeline.bind(splits.train, classes=10)
    trained = fit(recipe, feed, splits, directory=tmp_path, console=console)
    assert (trained.kept_epoch, len(trained.progressed.history)) == (epochs, epochs)
    assert isinstance(trained.model.optimizer, getattr(tf_keras.optimizers, optimizer))
    assert int(trained.model.optimizer.iterations) == epochs * ((60 - validate) // 16)
    assert all(("val_accuracy" in row) == bool(validate) for row in trained.progressed.history)
    assert trained.progressed.history[-1]["loss"] < trained.progressed.history[0]["loss"]


def test_a_batch_has_the_order_of_the_file_and_the_size_taught(data_directory):
    for name, (_, _, batch_size, _, _) in TAUGHT.items():
        recipe = apply_overrides(load_recipe(name), ["data.synthetic_count=160"])
        splits = recipe.data.synthetic()
        feed = recipe.pipeline.bind(splits.train, classes=10)
        images, targets = next(iter(feed.training(splits.train, Span(epochs=1, batch_size=batch_size, seed=0))))
        assert images.shape == (batch_size, 28, 28)
        known = {
            image.tobytes(): label for image, label in zip(splits.train.instances, splits.train.labels, strict=True)
        }
        for image, target in zip(images.numpy().astype(np.uint8), targets.numpy(), strict=True):
            assert target.tolist() == np.eye(10)[known[image.tobytes()]].tolist()


def test_a_run_classifies_drawn_garments(tmp_path, console):
    small = ["data.synthetic_count=400", "fitting.epochs=12", "fitting.batch_size=16"]
    recipe = apply_overrides(load_recipe("fashion-mnist-functional"), small)
    outcome = run(recipe, Plan(dataset="synthetic", test=True), directory=tmp_path, console=console)
    assert outcome.test.rows == 100
    assert outcome.test.accuracy > 0.85
