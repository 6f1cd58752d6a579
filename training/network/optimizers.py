"""Optimisers and learning-rate schedules by name."""

import math
from collections.abc import Callable
from typing import Any

import tensorflow as tf
import tf_keras

from training.network.fused_adam import FusedAdam, FusedAdamW
from training.recipe.fitting import Optimizer, Schedule

ONE_CYCLE_START = 1 / 25

_optimizers = tf_keras.optimizers
OPTIMIZERS: dict[str, Callable[[Optimizer, dict[str, Any]], Any]] = {
    "sgd": lambda _, shared: _optimizers.SGD(**shared),
    "momentum": lambda settings, shared: _optimizers.SGD(momentum=settings.momentum, **shared),
    "nesterov": lambda settings, shared: _optimizers.SGD(momentum=settings.momentum, nesterov=True, **shared),
    "adagrad": lambda settings, shared: _optimizers.Adagrad(epsilon=settings.epsilon, **shared),
    "rmsprop": lambda settings, shared: _optimizers.RMSprop(epsilon=settings.epsilon, **shared),
    "adam": lambda settings, shared: FusedAdam(epsilon=settings.epsilon, **shared),
    "adamw": lambda settings, shared: FusedAdamW(epsilon=settings.epsilon, **shared),
}


class ScheduledRate(tf_keras.optimizers.schedules.LearningRateSchedule):  # type: ignore[misc]
    """``Schedule`` over a known number of steps; the formulas are in that class's docstring.

    Args:
        settings: the schedule.
        peak: largest learning rate.
        steps: number of steps of the whole run.
    """

    def __init__(self, settings: Schedule, *, peak: float, steps: int) -> None:
        super().__init__()
        self.settings, self.peak, self.steps = settings, peak, steps
        self.warmup_steps = max(1.0, settings.warmup * steps)

    def __call__(self, step: Any) -> Any:
        """Learning rate at ``step``, counted from 0; float32."""
        if self.settings.name == "constant" and not self.settings.warmup:
            return tf.constant(self.peak, tf.float32)  # the formula below gives it too, with a dozen operations a step
        now = tf.cast(step, tf.float32)
        rising = tf.minimum((now + 1) / self.warmup_steps, 1.0)
        progress = (now - self.warmup_steps) / max(1.0, self.steps - self.warmup_steps)
        falling = 0.5 * (1 + tf.cos(math.pi * tf.clip_by_value(progress, 0.0, 1.0)))
        after = self.settings.final + (1 - self.settings.final) * falling
        if self.settings.name == "constant":
            after = tf.ones_like(after)
        if self.settings.name == "one-cycle":
            rising = ONE_CYCLE_START + (1 - ONE_CYCLE_START) * 0.5 * (1 - tf.cos(math.pi * rising))
        warm = self.settings.warmup > 0
        return self.peak * (tf.where(now < self.warmup_steps, rising, after) if warm else after)

    def get_config(self) -> dict[str, Any]:
        """The configuration that Keras writes to a saved optimiser."""
        return {"settings": vars(self.settings), "peak": self.peak, "steps": self.steps}


def build_optimizer(settings: Optimizer, *, steps: int) -> Any:
    """The tf_keras optimiser of ``settings`` for a run of ``steps`` steps."""
    rate = ScheduledRate(settings.schedule, peak=settings.learning_rate, steps=steps)
    shared: dict[str, Any] = {"learning_rate": rate, "global_clipnorm": settings.clip_norm}
    if settings.weight_decay or settings.name == "adamw":
        shared["weight_decay"] = settings.weight_decay
    return OPTIMIZERS[settings.name](settings, shared)
