"""Trains one network inside a directory, from the start or from an interruption."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tensorflow as tf
import tf_keras
from rich.console import Console
from rich.markup import escape

from training.data.class_weights import weigh_classes
from training.data.pipelines import Feed
from training.data.settings import Span
from training.data.targets import without_weights
from training.datasets.splits import Splits
from training.errors import RunNotFound, SettingRefused
from training.fit.callbacks import AveragedWeights, BestWeights, Checkpoints, RefuseDivergence
from training.fit.distillation import taught
from training.fit.distribution import ALONE, Distribution
from training.fit.execution import steps_per_call
from training.fit.gradient_warnings import WatchTraining
from training.fit.precision import with_scaled_loss
from training.fit.run_files import BEST_FILE, TENSORBOARD_FOLDER, Progressed, read_weights, write_weights
from training.fit.show_progress import ShowProgress
from training.fit.training_settings import Training, batch_size_for, check_training
from training.network.losses import compiled_with
from training.network.optimizers import build_optimizer
from training.recipe.fitting import Fitting

WEIGHTS_FILE = "weights.npz"

AfterEpoch = Callable[[int, Mapping[str, float]], None]
"""Called with the number of a finished epoch, from 1, and its figures; may raise to end the training."""


def nothing(epoch: int, figures: Mapping[str, float]) -> None:
    """What is done after an epoch by default."""


@dataclass(frozen=True, kw_only=True)
class Trained:
    """The result of ``fit``.

    Attributes:
        model: the finished one, with the kept weights.
        progressed: epochs, best epoch, history, seconds.
        kept_epoch: the epoch, from 1, whose weights ``model`` has.
        seconds: time of the finished epochs, including those of the stages.
        warnings: warnings about the training, including that of the stages.
    """

    model: Any
    progressed: Progressed
    kept_epoch: int
    seconds: float
    warnings: tuple[str, ...]


def train_network(
    model: Any,
    training: Training,
    feed: Feed,
    splits: Splits,
    *,
    directory: Path,
    console: Console,
    after_epoch: AfterEpoch = nothing,
    distribution: Distribution = ALONE,
    tensorboard: bool = False,
) -> Trained:
    """Train until the last epoch or early stopping, and write the kept weights.

    Args:
        model: not compiled; has the initial weights.
        training: settings.
        feed: gives the batches.
        splits: train and validation parts, checked.
        directory: an interrupted training in it continues.
        console: for the progress bar.
        after_epoch: called after every epoch; an exception ends the training.
        tensorboard: whether the logs also have the graph and, after each epoch, histograms of all weights.

    Raises:
        TrainingDiverged: the loss became NaN or infinite.
        SettingRefused: the train part does not fill one batch, no figure can select the best weights, or the teacher
            does not fit (``taught``).
    """
    settings = training.fitting
    rows = feed.rows(splits.train)
    batch_size = batch_size_for(settings, rows)
    steps = rows // batch_size
    check_training(training, feed, splits)
    with distribution.scope():
        optimizer = build_optimizer(training.optimizer, steps=steps * settings.epochs)
    optimizer = with_scaled_loss(optimizer, settings.mixed_precision)

    def compile_model(**speed: Any) -> None:
        with distribution.scope():
            objective = compiled_with(training.loss, training.metrics, training.heads)
            model.compile(optimizer=optimizer, **objective, **speed)

    compile_model()
    with distribution.scope():
        model.optimizer.build(model.trainable_variables)
    progressed = Progressed.read(directory)
    averaged = AveragedWeights(training.optimizer.ema_momentum) if training.optimizer.ema_momentum else None
    checkpoints = Checkpoints(model, progressed, directory, averaged, settings)
    if progressed.epoch:
        checkpoints.restore()
        done = "already trained, to epoch" if progressed.finished else "resuming after epoch"
        console.print(f"{done} {progressed.epoch} of {settings.epochs}", highlight=False)
    if not progressed.finished and progressed.epoch < settings.epochs:
        span = Span(
            first_epoch=progressed.epoch,
            epochs=settings.epochs,
            batch_size=batch_size,
            seed=settings.seed,
            max_length=training.max_length,
        )
        if training.distillation.teacher is None:
            batches = feed.training(splits.train, span)
        else:
            batches = taught(feed, splits, span, training.distillation, steps=steps)
        alone = distribution is ALONE and not averaged
        per_call = settings.steps_per_execution or (steps_per_call(model, batches, steps=steps) if alone else 1)
        compile_model(steps_per_execution=per_call, jit_compile=settings.jit_compile)
        weighted = weigh_classes(batches, splits) if settings.class_weights == "balanced" else batches
        show = ShowProgress(console, settings, steps=steps)
        callbacks = [
            RefuseDivergence(),
            *([averaged] if averaged else []),
            BestWeights(settings, progressed, directory, averaged),
            *(
                [WatchTraining(without_weights(batches), progressed.warnings, _warner(console), training.heads)]
                if settings.watch and distribution is ALONE
                else []
            ),
            tf_keras.callbacks.TensorBoard(
                str(directory / TENSORBOARD_FOLDER), histogram_freq=int(tensorboard), write_graph=tensorboard
            ),
            show,
            checkpoints,
            tf_keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: after_epoch(epoch + 1, logs or {})),
        ]
        try:
            validation = distribution.divided(_validation(feed, splits, settings))
            _run_epochs(model, settings, distribution.divided(weighted), validation, progressed, steps, callbacks)
        finally:
            show.close()
        compile_model()  # measured and exported without XLA, batch by batch
    if not progressed.finished:
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


def _warner(console: Console) -> Callable[[str], None]:
    """A function that prints a warning."""
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
    # One iterator for all epochs: a new one for each would rebuild the graph that contains the data, which is slow.
    try:
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
    except (tf.errors.InvalidArgumentError, tf.errors.UnimplementedError) as error:
        if not settings.jit_compile or progressed.epoch:
            raise
        raise SettingRefused(
            f"XLA cannot compile the network: {_first_line(error)}; set fitting.jit_compile=false"
        ) from error


def _first_line(error: Exception) -> str:
    """The line of TensorFlow's message that says what is wrong, which is below its frames."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return next((line for line in lines if "XLA" in line or "nsupported" in line), lines[0] if lines else "")[:300]


def _looks(epochs: int, every: int) -> list[int]:
    """Epochs, from 1, after which the model is validated: each ``every``-th and the last."""
    return sorted({*range(every, epochs + 1, every), epochs})


def _keep(model: Any, progressed: Progressed, directory: Path, averaged: AveragedWeights | None, *, best: bool) -> int:
    """Set the model's weights to the kept ones, write them, and return their epoch."""
    if best and (directory / BEST_FILE).is_file():
        model.set_weights(read_weights(directory / BEST_FILE))
        epoch = progressed.best_epoch
    else:
        if averaged:
            averaged.swap()
        epoch = progressed.epoch
    write_weights(directory / WEIGHTS_FILE, model.get_weights())
    return epoch


def read_kept(directory: Path) -> list[Any]:
    """The weights that a training kept; raises RunNotFound if it has not ended."""
    path = directory / WEIGHTS_FILE
    if not path.is_file():
        raise RunNotFound(f"{directory} has no {WEIGHTS_FILE}: its training has not ended; resume it first")
    return read_weights(path)
