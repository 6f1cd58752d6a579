"""Keras callbacks of a run: averaged weights, best weights, checkpoints, divergence."""

import math
import time
from pathlib import Path
from typing import Any

import tensorflow as tf
import tf_keras

from training.errors import TrainingDiverged
from training.fit.run_files import BEST_FILE, CHECKPOINT_FOLDER, HISTORY_FILE, Progressed, write_history, write_weights
from training.recipe.fitting import Fitting


class AveragedWeights(tf_keras.callbacks.Callback):  # type: ignore[misc]
    """Keeps the exponential moving average of all weights, and replaces the weights by it during validation.

    The first steps use the smaller factor (1 + step) / (10 + step), so that the average forgets the random start.

    Args:
        momentum: share of the old average in the new one, per step.
    """

    def __init__(self, momentum: float) -> None:
        super().__init__()
        self.momentum = momentum
        self.averages: list[Any] = []
        self.steps = tf.Variable(0.0, trainable=False, name="averaged_steps")

    def set_model(self, model: Any) -> None:
        """Start from the model's current weights."""
        super().set_model(model)
        if not self.averages:
            self.averages = [tf.Variable(weight, trainable=False) for weight in model.weights]
            self._update = tf.function(self._step)

    def _step(self) -> None:
        self.steps.assign_add(1.0)
        keep = tf.minimum(self.momentum, (1 + self.steps) / (10 + self.steps))
        for average, weight in zip(self.averages, self.model.weights, strict=True):
            average.assign(weight + keep * (average - weight))

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Update the averages."""
        self._update()

    def swap(self) -> None:
        """Swap weights and averages."""
        for average, weight in zip(self.averages, self.model.weights, strict=True):
            kept = tf.identity(weight)
            weight.assign(average)
            average.assign(kept)

    def on_test_begin(self, logs: Any = None) -> None:
        """Validate with the averages."""
        self.swap()

    def on_test_end(self, logs: Any = None) -> None:
        """Continue training with the weights."""
        self.swap()


class BestWeights(tf_keras.callbacks.Callback):  # type: ignore[misc]
    """Writes the weights of the best validation to best.npz; stops training when the best is too long ago.

    Args:
        settings: monitor, patience, minimum_delta.
        progressed: stores the best value.
        directory: of the run.
        averaged: source of the weights, if there is one.
    """

    def __init__(
        self, settings: Fitting, progressed: Progressed, directory: Path, averaged: AveragedWeights | None
    ) -> None:
        super().__init__()
        self.settings, self.progressed, self.directory, self.averaged = settings, progressed, directory, averaged

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Compare with the best value so far."""
        value = (logs or {}).get(self.settings.monitor)
        if value is None:
            return
        sign = -1 if self.settings.monitor == "val_loss" else 1
        best = self.progressed.best
        if best is None or sign * (value - best) > self.settings.minimum_delta:
            self.progressed.best, self.progressed.best_epoch = float(value), epoch + 1
            weights = self.averaged.averages if self.averaged else self.model.weights
            write_weights(self.directory / BEST_FILE, [weight.numpy() for weight in weights])
        elif self.settings.patience and epoch + 1 - self.progressed.best_epoch >= self.settings.patience:
            self.model.stop_training = True


class Checkpoints(tf_keras.callbacks.Callback):  # type: ignore[misc]
    """Writes everything that an interrupted run needs, every ``checkpoint_every`` epochs: the last callback.

    Args:
        model: compiled, its optimiser built.
        progressed: written next to the checkpoint; names its epoch.
        directory: of the run.
        averaged: part of the checkpoint if there is one.
        settings: epochs and checkpoint_every.
    """

    def __init__(
        self,
        model: Any,
        progressed: Progressed,
        directory: Path,
        averaged: AveragedWeights | None,
        settings: Fitting,
    ) -> None:
        super().__init__()
        self.progressed, self.directory, self.settings = progressed, directory, settings
        parts: dict[str, Any] = {"model": model, "optimizer": model.optimizer}
        if averaged:
            averaged.set_model(model)
            parts |= {"steps": averaged.steps, "averages": averaged.averages}
        self._checkpoint = tf.train.Checkpoint(**parts)
        self._manager = tf.train.CheckpointManager(
            self._checkpoint, str(directory / CHECKPOINT_FOLDER), max_to_keep=2, checkpoint_name="epoch"
        )
        self._started = time.monotonic()

    def restore(self) -> None:
        """Load the checkpoint of ``progressed``: weights, optimiser, its step, averages."""
        path = self.directory / CHECKPOINT_FOLDER / f"epoch-{self.progressed.epoch}"
        self._checkpoint.restore(str(path)).assert_existing_objects_matched()

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Start the epoch's clock."""
        self._started = time.monotonic()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Write the checkpoint, then the state that points to it."""
        seconds = time.monotonic() - self._started
        self.progressed.epoch = epoch + 1
        self.progressed.seconds += seconds
        row = {"epoch": epoch + 1, "seconds": round(seconds, 3), "learning_rate": learning_rate(self.model)}
        self.progressed.history.append(row | {name: float(value) for name, value in (logs or {}).items()})
        if not (is_due(self.settings, epoch) or self.model.stop_training):
            return
        self._manager.save(checkpoint_number=epoch + 1)
        write_history(self.directory / HISTORY_FILE, self.progressed.history)
        self.progressed.write(self.directory)


class RefuseDivergence(tf_keras.callbacks.Callback):  # type: ignore[misc]
    """Ends a run whose loss is not finite any more."""

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Check the running mean of the loss, which keeps a NaN."""
        loss = (logs or {}).get("loss", 0.0)
        if not math.isfinite(loss):
            raise TrainingDiverged(
                f"the loss became {loss} at step {int(self.model.optimizer.iterations)} with learning rate "
                f"{learning_rate(self.model):.3g}; lower optimizer.learning_rate or set optimizer.clip_norm"
            )


def is_due(settings: Fitting, epoch: int) -> bool:
    """Whether a checkpoint and a line are due after ``epoch``, counted from 0."""
    return (epoch + 1) % settings.checkpoint_every == 0 or epoch + 1 == settings.epochs


def learning_rate(model: Any) -> float:
    """Learning rate of the model's next step."""
    return float(tf.convert_to_tensor(model.optimizer.learning_rate))
