"""Trains the network of a recipe inside a run directory, from the start or from where it was interrupted."""

import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras
from rich.console import Console

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
from training.datasets.splits import Splits
from training.errors import SettingRefused
from training.optimizers import build_loss, build_optimizer
from training.pipelines import Feed, Span
from training.recipe import OUTPUT_NAME, Recipe, Signature

WEIGHTS_FILE = "weights.npz"
TENSORBOARD_FOLDER = "tensorboard"


@dataclass(frozen=True, kw_only=True)
class Trained:
    """What ``fit`` leaves behind.

    Attributes:
        model: with the weights that are kept.
        progressed: epochs, best epoch, history, seconds.
        kept_epoch: the epoch, from 1, whose weights ``model`` has.
    """

    model: Any
    progressed: Progressed
    kept_epoch: int


def build_model(recipe: Recipe, feed: Feed, *, classes: int) -> Any:
    """The recipe's untrained network, seeded.

    Returns:
        tf_keras.Model with the input that ``feed`` gives and the output ``OUTPUT_NAME`` (batch, classes).
    """
    random.seed(recipe.fitting.seed)
    np.random.seed(recipe.fitting.seed)  # Keras initialisers and layers draw from it
    tf.random.set_seed(recipe.fitting.seed)
    model = recipe.build(recipe.network, Signature(input=feed.input, classes=classes))
    names = (list(model.input_names), list(model.output_names))
    if names != ([feed.input.name], [OUTPUT_NAME]):
        raise SettingRefused(
            f"{recipe.name}: the network's tensors are {names}, not {feed.input.name!r}, {OUTPUT_NAME!r}"
        )
    return model


def fit(recipe: Recipe, feed: Feed, splits: Splits, *, directory: Path, console: Console) -> Trained:
    """Train until the last epoch, or until early stopping.

    Args:
        recipe: all settings.
        feed: the recipe's pipeline, bound to ``splits.train``.
        splits: train and validation parts; the test part is not read.
        directory: of the run; where it holds the state of an interrupted run, that run goes on.
        console: for the progress bar.

    Raises:
        TrainingDiverged: the loss became NaN or infinite.
        SettingRefused: the train part does not fill one batch.
    """
    settings = recipe.fitting
    steps = len(splits.train) // settings.batch_size
    if not steps:
        raise SettingRefused(f"fitting.batch_size {settings.batch_size} exceeds the {len(splits.train)} training rows")
    model = build_model(recipe, feed, classes=len(splits.labels))
    model.compile(
        optimizer=build_optimizer(recipe.optimizer, steps=steps * settings.epochs),
        loss=build_loss(recipe.loss),
        metrics=["accuracy"],
    )
    model.optimizer.build(model.trainable_variables)
    progressed = Progressed.read(directory)
    averaged = AveragedWeights(recipe.optimizer.ema_momentum) if recipe.optimizer.ema_momentum else None
    checkpoints = Checkpoints(model, progressed, directory, averaged)
    if progressed.epoch:
        checkpoints.restore()
        console.print(f"resuming after epoch {progressed.epoch} of {settings.epochs}")
    if not progressed.finished:
        span = Span(
            first_epoch=progressed.epoch, epochs=settings.epochs, batch_size=settings.batch_size, seed=settings.seed
        )
        validation, _ = feed.evaluation(splits.validation, batch_size=settings.evaluation_batch_size)
        show = ShowProgress(console, epochs=settings.epochs, steps=steps)
        callbacks = [
            RefuseDivergence(),
            *([averaged] if averaged else []),
            BestWeights(settings, progressed, directory, averaged),
            tf_keras.callbacks.TensorBoard(str(directory / TENSORBOARD_FOLDER), write_graph=False),
            show,
            checkpoints,
        ]
        try:
            model.fit(
                feed.training(splits.train, span),
                epochs=settings.epochs,
                initial_epoch=progressed.epoch,
                steps_per_epoch=steps,
                validation_data=validation,
                validation_freq=_looks(settings.epochs, settings.validate_every),
                callbacks=callbacks,
                verbose=0,
            )
        finally:
            show.close()
        progressed.finished = True
        progressed.write(directory)
    kept = _keep(model, progressed, directory, averaged, best=settings.keep == "best")
    return Trained(model=model, progressed=progressed, kept_epoch=kept)


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
