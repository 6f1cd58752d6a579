"""Settings of one training, and the refusal of those that do not go together, or with the data. No TensorFlow."""

from dataclasses import dataclass, field

from training.data.pipelines import Feed
from training.datasets.splits import Splits
from training.errors import SettingRefused
from training.recipe.fitting import Distillation, Fitting, Loss, Metric, Optimizer
from training.recipe.heads import Head


@dataclass(frozen=True)
class Training:
    """Training settings of one network; the fields are those of ``Recipe`` and ``Stage``."""

    optimizer: Optimizer
    loss: Loss
    metrics: tuple[Metric, ...]
    fitting: Fitting
    max_length: int | None
    heads: tuple[Head, ...] = ()
    distillation: Distillation = field(default=Distillation())


def batch_size_for(fitting: Fitting, rows: int) -> int:
    """Rows of one step, of a training part of ``rows``.

    Raises:
        SettingRefused: the part does not fill one batch.
    """
    size = fitting.rows_per_step(rows)
    if not 1 <= size <= rows:
        raise SettingRefused(f"fitting.batch_size is {size}; it must be at most {rows}, the number of training rows")
    return size


def check_training(training: Training, feed: Feed, splits: Splits) -> None:
    """Refuse what cannot be trained, or would not be what the settings say.

    Raises:
        SettingRefused: names the setting, and the remedy.
    """
    _monitor(training, splits)
    _speed(training, feed)
    _weights(training, splits)
    _distillation(training, splits)


def _monitor(training: Training, splits: Splits) -> None:
    """Refuse to stop early, or to select the best weights, by a figure that is not measured."""
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


def _speed(training: Training, feed: Feed) -> None:
    """Refuse settings of speed that do not go with another setting or with the data."""
    if training.fitting.jit_compile and feed.input.is_variable:
        raise SettingRefused(
            "fitting.jit_compile: XLA compiles the step again for every length of a text, which takes longer than the "
            "training; set it to false"
        )
    steps = training.fitting.steps_per_execution
    if training.optimizer.ema_momentum and steps not in {None, 1}:
        raise SettingRefused(
            f"fitting.steps_per_execution {steps} would leave steps out of the average of optimizer.ema_momentum; "
            "set one of them to none"
        )


def _weights(training: Training, splits: Splits) -> None:
    """Refuse weights of rows with a loss that is one number for a whole batch, in which rows have no weight."""
    weighted = splits.train.weights is not None or training.fitting.class_weights != "none"
    losses = [head.loss for head in training.heads] if training.heads else [training.loss]
    if weighted and any(loss and loss.name == "root-mean-squared-error" for loss in losses):
        raise SettingRefused(
            "the loss root-mean-squared-error is one number for a batch, so rows cannot have weights in it; use "
            "mean-squared-error, which has the same minimum"
        )


def _distillation(training: Training, splits: Splits) -> None:
    """Refuse a teacher where the targets are not the probabilities of classes, or rows have weights beside them."""
    if training.distillation.teacher is None:
        return
    if training.heads or training.loss.name != "categorical-crossentropy" or not isinstance(splits.classes, int):
        raise SettingRefused(
            "distillation.teacher: a teacher gives the probabilities of classes, so the loss must be "
            f"categorical-crossentropy; it is {training.loss.name}"
        )
    if splits.train.weights is not None or training.fitting.class_weights != "none":
        raise SettingRefused("distillation.teacher: rows with weights have no teacher yet; set teacher to none")
