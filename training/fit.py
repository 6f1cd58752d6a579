"""Trains the network of a recipe, after or beside those of its stages, inside a run directory.

Every training goes on from where it was interrupted.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import tf_keras
from rich.console import Console

from training.beside import Company
from training.callbacks import Progressed
from training.datasets.check import read_splits
from training.datasets.splits import SYNTHETIC, Splits
from training.errors import SettingRefused
from training.pipelines import Feed
from training.recipe import Inherited, Recipe, Signature, Stage
from training.train_network import Trained, Training, read_kept, train_network


def build_model(recipe: Recipe, feed: Feed, *, classes: int, stage: Stage | None = None) -> Any:
    """The untrained network of the recipe, or of one of its stages, seeded.

    Returns:
        tf_keras.Model with the input that ``feed`` gives and the output that the recipe's task names.
    """
    tf_keras.utils.set_random_seed((stage or recipe).fitting.seed)
    build = stage.build if stage else recipe.build
    signature = Signature(input=feed.input, classes=classes)
    return _named(recipe, build(recipe.network, signature), signature)


def finish_model(recipe: Recipe, model: Any, feed: Feed, inherited: Inherited, *, classes: int) -> Any:
    """The model to measure and to publish, made of the trained one, whose weights it shares."""
    signature = Signature(input=feed.input, classes=classes)
    return _named(recipe, recipe.finish(recipe.network, model, signature, inherited), signature)


def trained_model(recipe: Recipe, feed: Feed, splits: Splits, *, directory: Path) -> Any:
    """The model to measure and to publish of a run whose training has ended.

    Raises:
        RunNotFound: the run has no weights yet.
    """
    inherited: dict[str, list[Any]] = {}
    for stage in recipe.stages:
        inherited |= _kept_by(recipe, stage, feed, splits, directory)
    model = build_model(recipe, feed, classes=len(splits.labels))
    model.set_weights(read_kept(directory))
    return finish_model(recipe, model, feed, inherited, classes=len(splits.labels))


def fit(recipe: Recipe, feed: Feed, splits: Splits, *, directory: Path, console: Console) -> Trained:
    """Train the stages of the recipe and its network, each until its last epoch or early stopping.

    Args:
        recipe: all settings.
        feed: the recipe's pipeline, bound to ``splits.train``.
        splits: train and validation parts, checked; the test part is not read.
        directory: of the run; where it holds the state of an interrupted run, that run goes on.
        console: for the progress bar.

    Raises:
        TrainingDiverged, SettingRefused: see ``train_network``.
        DataUnusable: see ``check_splits``, for the data of a stage.
        StageDied: the process of a stage that trains beside the others ended.
    """
    inherited: dict[str, list[Any]] = {}
    spent, ends = 0.0, 0.0
    began: dict[str, float] = {}
    warnings: tuple[str, ...] = ()
    with Company(console) as company:
        for stage in recipe.stages:
            if stage.beside:
                company.train(recipe, stage, splits, directory=directory)
                began[stage.name] = spent
                continue
            console.print(f"stage {stage.name}", highlight=False)
            trained = train_stage(recipe, stage, feed, splits, inherited, directory=directory, console=console)
            inherited |= _handed_on(stage, trained.model)
            spent += trained.seconds
            warnings += _of_stage(stage, trained.warnings)
        model = build_model(recipe, feed, classes=len(splits.labels))
        recipe.adopt(recipe.network, model, inherited)
        training = Training(recipe.optimizer, recipe.loss, recipe.metrics, recipe.fitting, None)
        trained = train_network(
            model, training, feed, splits, directory=directory, console=console, after_epoch=company.listen
        )
        company.wait()
    for stage in recipe.stages:
        if stage.beside:
            inherited |= _kept_by(recipe, stage, feed, splits, directory)
            progressed = Progressed.read(directory / stage.name)
            ends = max(ends, began[stage.name] + progressed.seconds)
            warnings += _of_stage(stage, tuple(progressed.warnings.values()))
    finished = finish_model(recipe, trained.model, feed, inherited, classes=len(splits.labels))
    seconds = max(ends, spent + trained.seconds)
    return replace(trained, model=finished, seconds=seconds, warnings=warnings + trained.warnings)


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
    """Train one stage in a directory of its own below that of the run; otherwise as ``fit``.

    Args:
        inherited: what it may start with.
    """
    splits, feed = _stage_data(recipe, stage, feed, splits)
    model = build_model(recipe, feed, classes=len(splits.labels), stage=stage)
    training = Training(stage.optimizer, recipe.loss, recipe.metrics, stage.fitting, stage.max_length)
    (directory / stage.name).mkdir(exist_ok=True)
    stage.adopt(recipe.network, model, inherited)
    return train_network(model, training, feed, splits, directory=directory / stage.name, console=console)


def _kept_by(recipe: Recipe, stage: Stage, feed: Feed, splits: Splits, directory: Path) -> dict[str, list[Any]]:
    """What a stage hands on whose training has ended."""
    splits, feed = _stage_data(recipe, stage, feed, splits)
    network = build_model(recipe, feed, classes=len(splits.labels), stage=stage)
    network.set_weights(read_kept(directory / stage.name))
    return _handed_on(stage, network)


def _handed_on(stage: Stage, model: Any) -> dict[str, list[Any]]:
    return {name: model.get_layer(name).get_weights() for name in stage.hands_on}


def _of_stage(stage: Stage, warnings: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(f"stage {stage.name}: {sentence}" for sentence in warnings)


def _stage_data(recipe: Recipe, stage: Stage, feed: Feed, splits: Splits) -> tuple[Splits, Feed]:
    """What a stage learns from: the recipe's data through the recipe's pipeline, unless it has its own."""
    if stage.data:
        splits = read_splits(stage.data, synthetic=splits.form == SYNTHETIC)
    if stage.data or stage.pipeline:
        feed = (stage.pipeline or recipe.pipeline).bind(splits.train, classes=len(splits.labels))
    return splits, feed


def _named(recipe: Recipe, model: Any, signature: Signature) -> Any:
    names = (list(model.input_names), list(model.output_names))
    if names != ([signature.input.name], [recipe.task.output]):
        raise SettingRefused(
            f"{recipe.name}: the network's tensors are called {names[0]} and {names[1]}, "
            f"not {signature.input.name!r} and {recipe.task.output!r}"
        )
    return model
