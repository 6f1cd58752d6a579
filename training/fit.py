"""Trains the network of a recipe inside a run directory, from the start or from where it was interrupted."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import tf_keras
from rich.console import Console
from rich.markup import escape

from training.callbacks import (
    BEST_FILE,
    AveragedWeights,
    BestWeights,
    Checkpoints,
    Progressed,
    RefuseDivergence,
    ShowProgress,
    read_weights,
    write_weights,
)
from training.datasets.check import read_splits
from training.datasets.splits import SYNTHETIC, Splits
from training.errors import RunNotFound, SettingRefused
from training.losses import build_loss, build_metrics
from training.optimizers import build_optimizer
from training.pipelines import Feed, Span
from training.recipe import Fitting, Inherited, Loss, Metric, Optimizer, Recipe, Signature, Stage
from training.watch import WatchTraining

WEIGHTS_FILE = "weights.npz"
TENSORBOARD_FOLDER = "tensorboard"


@dataclass(frozen=True, kw_only=True)
class Trained:
    """What ``fit`` leaves behind.

    Attributes:
        model: the finished one, with the weights that are kept.
        progressed: epochs, best epoch, history, seconds.
        kept_epoch: the epoch, from 1, whose weights ``model`` has.
        seconds: spent in finished epochs, those of the stages included.
        warnings: what there was to say about the training, that of the stages included.
    """

    model: Any
    progressed: Progressed
    kept_epoch: int
    seconds: float
    warnings: tuple[str, ...]


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
        stage_splits, stage_feed = _stage_data(recipe, stage, feed, splits)
        network = build_model(recipe, stage_feed, classes=len(stage_splits.labels), stage=stage)
        network.set_weights(read_kept(directory / stage.name))
        inherited |= _handed_on(stage, network)
    model = build_model(recipe, feed, classes=len(splits.labels))
    model.set_weights(read_kept(directory))
    return finish_model(recipe, model, feed, inherited, classes=len(splits.labels))


def read_kept(directory: Path) -> list[Any]:
    """The weights that a training kept; RunNotFound if it has not ended."""
    path = directory / WEIGHTS_FILE
    if not path.is_file():
        raise RunNotFound(f"{directory} has no {WEIGHTS_FILE}: its training has not ended; resume it first")
    return read_weights(path)


def _named(recipe: Recipe, model: Any, signature: Signature) -> Any:
    names = (list(model.input_names), list(model.output_names))
    if names != ([signature.input.name], [recipe.task.output]):
        raise SettingRefused(
            f"{recipe.name}: the network's tensors are called {names[0]} and {names[1]}, "
            f"not {signature.input.name!r} and {recipe.task.output!r}"
        )
    return model


def fit(recipe: Recipe, feed: Feed, splits: Splits, *, directory: Path, console: Console) -> Trained:
    """Train the stages of the recipe, then its network, each until its last epoch or early stopping.

    Args:
        recipe: all settings.
        feed: the recipe's pipeline, bound to ``splits.train``.
        splits: train and validation parts, checked; the test part is not read.
        directory: of the run; where it holds the state of an interrupted run, that run goes on.
        console: for the progress bar.

    Raises:
        TrainingDiverged: the loss became NaN or infinite.
        SettingRefused: the train part does not fill one batch, or there is nothing to choose the best weights by.
        DataUnusable: see ``check_splits``, for the data of a stage.
    """
    classes = len(splits.labels)
    inherited: dict[str, list[Any]] = {}
    spent = 0.0
    warnings: tuple[str, ...] = ()
    for stage in recipe.stages:
        console.print(f"stage {stage.name}", highlight=False)
        stage_splits, stage_feed = _stage_data(recipe, stage, feed, splits)
        model = build_model(recipe, stage_feed, classes=len(stage_splits.labels), stage=stage)
        training = Training(stage.optimizer, recipe.loss, recipe.metrics, stage.fitting, stage.max_length)
        stage_directory = directory / stage.name
        stage_directory.mkdir(exist_ok=True)
        stage.adopt(recipe.network, model, inherited)
        trained = _train(model, training, stage_feed, stage_splits, stage_directory, console)
        inherited |= _handed_on(stage, trained.model)
        spent += trained.seconds
        warnings += tuple(f"stage {stage.name}: {sentence}" for sentence in trained.warnings)
    model = build_model(recipe, feed, classes=classes)
    recipe.adopt(recipe.network, model, inherited)
    training = Training(recipe.optimizer, recipe.loss, recipe.metrics, recipe.fitting, None)
    trained = _train(model, training, feed, splits, directory, console)
    finished = finish_model(recipe, trained.model, feed, inherited, classes=classes)
    return replace(trained, model=finished, seconds=spent + trained.seconds, warnings=warnings + trained.warnings)


def _handed_on(stage: Stage, model: Any) -> dict[str, list[Any]]:
    return {name: model.get_layer(name).get_weights() for name in stage.hands_on}


def _stage_data(recipe: Recipe, stage: Stage, feed: Feed, splits: Splits) -> tuple[Splits, Feed]:
    """What a stage learns from: the recipe's data through the recipe's pipeline, unless it has its own."""
    if stage.data:
        splits = read_splits(stage.data, synthetic=splits.form == SYNTHETIC)
    if stage.data or stage.pipeline:
        feed = (stage.pipeline or recipe.pipeline).bind(splits.train, classes=len(splits.labels))
    return splits, feed


@dataclass(frozen=True)
class Training:
    """How one network is trained; the fields are those of ``Recipe`` and ``Stage``."""

    optimizer: Optimizer
    loss: Loss
    metrics: tuple[Metric, ...]
    fitting: Fitting
    max_length: int | None


def _train(model: Any, training: Training, feed: Feed, splits: Splits, directory: Path, console: Console) -> Trained:
    settings = training.fitting
    rows = feed.rows(splits.train)
    batch_size = settings.rows_per_step(rows)
    if not 1 <= batch_size <= rows:
        raise SettingRefused(f"fitting.batch_size {batch_size} exceeds the {rows} training rows")
    steps = rows // batch_size
    _check_monitor(training, splits)
    model.compile(
        optimizer=build_optimizer(training.optimizer, steps=steps * settings.epochs),
        loss=build_loss(training.loss),
        metrics=build_metrics(training.metrics),
    )
    model.optimizer.build(model.trainable_variables)
    progressed = Progressed.read(directory)
    averaged = AveragedWeights(training.optimizer.ema_momentum) if training.optimizer.ema_momentum else None
    checkpoints = Checkpoints(model, progressed, directory, averaged, settings)
    if progressed.epoch:
        checkpoints.restore()
        done = "trained already, to epoch" if progressed.finished else "resuming after epoch"
        console.print(f"{done} {progressed.epoch} of {settings.epochs}", highlight=False)
    if not progressed.finished:
        span = Span(
            first_epoch=progressed.epoch,
            epochs=settings.epochs,
            batch_size=batch_size,
            seed=settings.seed,
            max_length=training.max_length,
        )
        batches = feed.training(splits.train, span)
        show = ShowProgress(console, settings, steps=steps)
        callbacks = [
            RefuseDivergence(),
            *([averaged] if averaged else []),
            BestWeights(settings, progressed, directory, averaged),
            *([WatchTraining(batches, progressed.warnings, _warner(console))] if settings.watch else []),
            tf_keras.callbacks.TensorBoard(str(directory / TENSORBOARD_FOLDER), write_graph=False),
            show,
            checkpoints,
        ]
        try:
            _run_epochs(model, settings, batches, _validation(feed, splits, settings), progressed, steps, callbacks)
        finally:
            show.close()
        progressed.finished = True
        progressed.write(directory)
    best = settings.keep == "best" and len(splits.validation) > 0
    kept = _keep(model, progressed, directory, averaged, best=best)
    return Trained(
        model=model,
        progressed=progressed,
        kept_epoch=kept,
        seconds=progressed.seconds,
        warnings=tuple(progressed.warnings.values()),
    )


def _check_monitor(training: Training, splits: Splits) -> None:
    """Refuse to stop early, or to choose the best weights, by a figure that nobody measures."""
    settings = training.fitting
    if not len(splits.validation):
        if settings.patience:
            raise SettingRefused(
                f"fitting.patience waits for a better {settings.monitor}, but {splits.name} has no validation part"
            )
        return
    measured = settings.monitor == "val_loss" or "accuracy" in training.metrics
    if not measured and (settings.patience or settings.keep == "best"):
        raise SettingRefused(
            "fitting.monitor val_accuracy is not among the metrics of the recipe; set fitting.monitor=val_loss"
        )


def _warner(console: Console) -> Callable[[str], None]:
    """Prints a sentence."""
    return lambda sentence: console.print(f"[yellow]warning:[/] {escape(sentence)}", highlight=False, soft_wrap=True)


def _validation(feed: Feed, splits: Splits, settings: Fitting) -> Any:
    """tf.data.Dataset of the validation part; None if that is empty."""
    if not len(splits.validation):
        return None
    return feed.watched(splits.validation, batch_size=settings.evaluation_batch_size)


def _run_epochs(
    model: Any,
    settings: Fitting,
    batches: Any,
    validation: Any,
    progressed: Progressed,
    steps: int,
    callbacks: list[Any],
) -> None:
    # One iterator for all epochs: a new one for each would rewrite the graph that holds the data, which takes long.
    model.fit(
        batches,
        epochs=settings.epochs,
        initial_epoch=progressed.epoch,
        steps_per_epoch=steps,
        validation_data=validation,
        validation_freq=_looks(settings.epochs, settings.validate_every),
        callbacks=callbacks,
        verbose=0,
    )


def _looks(epochs: int, every: int) -> list[int]:
    """Epochs, from 1, after which the validation set is looked at: each ``every``-th and the last."""
    return sorted({*range(every, epochs + 1, every), epochs})


def _keep(model: Any, progressed: Progressed, directory: Path, averaged: AveragedWeights | None, *, best: bool) -> int:
    """Give the model the weights that are kept, write them, and return their epoch."""
    if best and (directory / BEST_FILE).is_file():
        model.set_weights(read_weights(directory / BEST_FILE))
        epoch = progressed.best_epoch
    else:
        if averaged:
            averaged.swap()
        epoch = progressed.epoch
    write_weights(directory / WEIGHTS_FILE, model.get_weights())
    return epoch
