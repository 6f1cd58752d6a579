"""Trains the network of a recipe, after or in parallel with its stages, inside a run directory.

Every training continues where it was interrupted.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console

from training.data.pipelines import Feed
from training.datasets.splits import Splits
from training.export.keras_weights import write_keras_weights
from training.fit.distribution import ALONE, Distribution
from training.fit.parallel_stages import ParallelStages
from training.fit.run_files import Progressed
from training.fit.servable import refuse_state, refuse_unservable
from training.fit.stages import build_model, finish_model, handed_on, kept_by, train_stage
from training.fit.train_network import AfterEpoch, Trained, nothing, read_kept, train_network
from training.fit.training_settings import Training
from training.recipe.recipe import Recipe, Stage


def trained_model(recipe: Recipe, feed: Feed, splits: Splits, *, directory: Path) -> Any:
    """The model to measure and to publish of a run whose training has ended.

    Raises:
        RunNotFound: the run has no weights yet.
    """
    inherited: dict[str, list[Any]] = {}
    for stage in recipe.stages:
        inherited |= kept_by(recipe, stage, feed, splits, directory)
    model = build_model(recipe, feed, classes=splits.classes)
    model.set_weights(read_kept(directory))
    return finish_model(recipe, model, feed, inherited, classes=splits.classes)


def fit(
    recipe: Recipe,
    feed: Feed,
    splits: Splits,
    *,
    directory: Path,
    console: Console,
    after_epoch: AfterEpoch = nothing,
    distribution: Distribution = ALONE,
    tensorboard: bool = False,
) -> Trained:
    """Train the stages of the recipe and its network, each until its last epoch or early stopping.

    Args:
        recipe: all settings.
        feed: the recipe's pipeline, bound to ``splits.train``.
        splits: train and validation parts, checked; the test part is not read.
        directory: of the run; an interrupted run in it continues.
        console: for the progress bar.
        after_epoch: called after each epoch of the network, not of its stages.
        tensorboard: whether the logs of the network have more than scalars, see ``train_network``.
        distribution: where the network trains, checked by ``refuse_together``; the result is on one device.

    Raises:
        TrainingDiverged, SettingRefused: see ``train_network`` and ``refuse_unservable``.
        DataUnusable: see ``check_splits``, for the data of a stage.
        StageDied: the process of a stage that trains in parallel ended.
    """
    refuse_unservable(recipe, feed, splits)
    inherited: dict[str, list[Any]] = {}
    spent, ends = 0.0, 0.0
    began: dict[str, float] = {}
    warnings: tuple[str, ...] = ()
    with ParallelStages(console) as parallel:
        for stage in recipe.stages:
            if stage.in_parallel:
                parallel.train(recipe, stage, splits, inherited, directory=directory)
                began[stage.name] = spent
                continue
            console.print(f"stage {stage.name}", highlight=False)
            trained = train_stage(recipe, stage, feed, splits, inherited, directory=directory, console=console)
            inherited |= handed_on(stage, trained.model)
            spent += trained.seconds
            warnings += _of_stage(stage, trained.warnings)
        precision = recipe.fitting.mixed_precision
        with distribution.scope():
            model = build_model(recipe, feed, classes=splits.classes, precision=precision)
        recipe.adopt(recipe.network, model, inherited)
        refuse_state(recipe, model)
        training = Training(
            recipe.optimizer, recipe.loss, recipe.metrics, recipe.fitting, None, recipe.heads, recipe.distillation
        )

        def heard(epoch: int, figures: Mapping[str, float]) -> None:
            parallel.listen()
            after_epoch(epoch, figures)

        trained = train_network(
            model,
            training,
            feed,
            splits,
            directory=directory,
            console=console,
            after_epoch=heard,
            distribution=distribution,
            tensorboard=tensorboard,
        )
        parallel.wait()
    for stage in recipe.stages:
        if stage.in_parallel:
            inherited |= kept_by(recipe, stage, feed, splits, directory)
            progressed = Progressed.read(directory / stage.name)
            ends = max(ends, began[stage.name] + progressed.seconds)
            warnings += _of_stage(stage, tuple(progressed.warnings.values()))
    network = trained.model
    if recipe.fitting.mixed_precision != "float32" or distribution.strategy:
        network = build_model(recipe, feed, classes=splits.classes)
        network.set_weights(trained.model.get_weights())
    finished = finish_model(recipe, network, feed, inherited, classes=splits.classes)
    write_keras_weights(finished, directory)
    seconds = max(ends, spent + trained.seconds)
    return replace(trained, model=finished, seconds=seconds, warnings=warnings + trained.warnings)


def _of_stage(stage: Stage, warnings: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(f"stage {stage.name}: {sentence}" for sentence in warnings)
