"""One stage of a recipe: its network, its data, its training in its own directory, and the weights it passes on."""

from pathlib import Path
from typing import Any

import tf_keras
from rich.console import Console

from training.data.pipelines import Feed
from training.data.reading import read_data
from training.datasets.splits import SYNTHETIC, Classes, Splits
from training.errors import SettingRefused
from training.fit.precision import layers_in, with_float32_answers
from training.fit.train_network import Trained, read_kept, train_network
from training.fit.training_settings import Training
from training.recipe.fitting import Precision
from training.recipe.recipe import Inherited, Recipe, Signature, Stage


def build_model(
    recipe: Recipe, feed: Feed, *, classes: Classes, stage: Stage | None = None, precision: Precision = "float32"
) -> Any:
    """The untrained network of the recipe, or of one of its stages, seeded.

    Args:
        recipe: all settings.
        feed: gives its input.
        classes: of the data.
        stage: whose network to build; None for that of the recipe.
        precision: what its layers compute in; that of ``fitting`` only to train.

    Returns:
        tf_keras.Model with the inputs of ``feed`` and the outputs of the recipe's task, which are float32.

    Raises:
        SettingRefused: see ``check_names``; or two layers, for example two outputs, have one name.
    """
    tf_keras.utils.set_random_seed((stage or recipe).fitting.seed)
    build = stage.build if stage else recipe.build
    signature = Signature.of(feed, classes=classes, task=recipe.task)
    try:
        with layers_in(precision):
            model = check_names(recipe, build(recipe.network, signature), signature)
    except ValueError as error:
        if "should be unique" not in str(error):
            raise
        raise SettingRefused(f"{recipe.name}: two layers of the network have one name: {error}") from error
    return with_float32_answers(model)


def finish_model(recipe: Recipe, model: Any, feed: Feed, inherited: Inherited, *, classes: Classes) -> Any:
    """The model to measure and to publish, made from the trained one, whose weights it shares."""
    signature = Signature.of(feed, classes=classes, task=recipe.task)
    return check_names(recipe, recipe.finish(recipe.network, model, signature, inherited), signature)


def train_stage(
    recipe: Recipe,
    stage: Stage,
    feed: Feed,
    splits: Splits,
    inherited: Inherited,
    *,
    directory: Path,
    console: Console,
) -> Trained:
    """Train one stage in its own directory below that of the run; otherwise like ``fit``.

    Args:
        inherited: weights that it may start with.
        console: as there; first prints how many rows the stage's own data has.
    """
    splits, feed = stage_data(recipe, stage, feed, splits)
    if stage.data:
        console.print(splits.described, highlight=False)
    precision = stage.fitting.mixed_precision
    model = build_model(recipe, feed, classes=splits.classes, stage=stage, precision=precision)
    training = Training(stage.optimizer, recipe.loss, recipe.metrics, stage.fitting, stage.max_length)
    (directory / stage.name).mkdir(exist_ok=True)
    stage.adopt(recipe.network, model, inherited)
    return train_network(model, training, feed, splits, directory=directory / stage.name, console=console)


def kept_by(recipe: Recipe, stage: Stage, feed: Feed, splits: Splits, directory: Path) -> dict[str, list[Any]]:
    """The weights that a finished stage passes on."""
    splits, feed = stage_data(recipe, stage, feed, splits)
    network = build_model(recipe, feed, classes=splits.classes, stage=stage)
    network.set_weights(read_kept(directory / stage.name))
    return handed_on(stage, network)


def handed_on(stage: Stage, model: Any) -> dict[str, list[Any]]:
    """The weights that later networks start with, by layer."""
    return {name: model.get_layer(name).get_weights() for name in stage.shared_layers}


def stage_data(recipe: Recipe, stage: Stage, feed: Feed, splits: Splits) -> tuple[Splits, Feed]:
    """The training data of a stage: the recipe's data through the recipe's pipeline, unless it has its own."""
    if stage.data:
        splits = read_data(stage.data, stage.pipeline or recipe.pipeline, synthetic=splits.form == SYNTHETIC)
    if stage.data or stage.pipeline:
        feed = (stage.pipeline or recipe.pipeline).bind(splits.train, classes=splits.classes)
    return splits, feed


def check_names(recipe: Recipe, model: Any, signature: Signature) -> Any:
    """Return the model after checking that its tensors have the names that the service uses.

    Raises:
        SettingRefused: the names, or the lengths of the outputs of several heads, differ.
    """
    names = (list(model.input_names), list(model.output_names))
    expected = ([tensor.name for tensor in signature.inputs], list(recipe.task.activations))
    if names != expected:
        inputs, outputs = (each if len(each) > 1 else repr(each[0]) for each in expected)
        raise SettingRefused(
            f"{recipe.name}: the network's tensors are called {names[0]} and {names[1]}, not {inputs} and {outputs}"
        )
    for name, shape in zip(names[1], _shapes(model), strict=True):
        length = signature.heads.get(name)
        if length and shape != (None, length):
            raise SettingRefused(
                f"{recipe.name}: output {name!r} has shape {shape[1:]}, but its target has {length} numbers for each "
                f"row; give its layer {length} units (signature.heads[{name!r}])"
            )
    return model


def _shapes(model: Any) -> list[tuple[int | None, ...]]:
    """Shape of each output, the batch included."""
    return [tuple(output.shape) for output in model.outputs]
