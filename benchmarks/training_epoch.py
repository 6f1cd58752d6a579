"""Compares an epoch of a run with one of plain Keras ``fit`` with NumPy arrays, and says what made the difference."""

import io
import random
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from rich.console import Console

EPOCHS = 3
"""Of each training; the first one, which compiles, is left out."""
PLAIN = "plain Keras fit, NumPy arrays"


@dataclass(frozen=True)
class Way:
    """One way to train.

    Attributes:
        epoch_s: median over the repeats, validation included.
        ratio: median over the repeats of plain Keras against it, both measured in the same repeat.
        low, high: smallest and largest of these ratios.
    """

    name: str
    epoch_s: float
    ratio: float
    low: float
    high: float


def compare_training(name: str, *, repeats: int, rows: int) -> list[Way]:
    """Train the network of a recipe in every way, in random order, in each repeat.

    Args:
        name: of the recipe, which must be one of images without stages.
        repeats: of all ways.
        rows: of the training part.
    """
    from training.environment import quiet_tensorflow

    quiet_tensorflow()
    from training.data.reading import read_data
    from training.overrides import apply_overrides
    from training.runs.session import trained_recipe

    recipe = apply_overrides(trained_recipe(name), [f"fitting.epochs={EPOCHS}", "data.validation_per_class=500"])
    splits = read_data(recipe.data, recipe.pipeline, synthetic=False)
    splits = replace(splits, train=splits.train.take(np.arange(rows)))

    def as_run(**changes: Any) -> Callable[[], float]:
        changed = replace(recipe, fitting=replace(recipe.fitting, **changes))
        return lambda: _run(changed, splits)

    ways: dict[str, Callable[[], float]] = {
        PLAIN: lambda: _plain(recipe, splits, fused=False),
        "the same, Adam as one operation": lambda: _plain(recipe, splits, fused=True),
        "a run, one step per call": as_run(steps_per_execution=1),
        "a run": as_run(),
        "a run, XLA": as_run(jit_compile=True),
    }
    order, times = random.Random(0), {name: [] for name in ways}  # type: dict[str, list[float]]
    for _ in range(repeats):
        for way in order.sample(list(ways), len(ways)):
            times[way].append(ways[way]())
    found = []
    for way, seconds in times.items():
        ratios = [slow / fast for slow, fast in zip(times[PLAIN], seconds, strict=True)]
        found.append(Way(way, median(seconds), median(ratios), min(ratios), max(ratios)))
    return found


def _run(recipe: Any, splits: Any) -> float:
    """Seconds of an epoch of ``training run``, with its callbacks, checkpoint and validation."""
    from training.fit.fit import fit

    feed = recipe.pipeline.bind(splits.train, classes=len(splits.labels))
    with tempfile.TemporaryDirectory() as folder:
        trained = fit(recipe, feed, splits, directory=Path(folder), console=Console(file=io.StringIO()))
    return median(row["seconds"] for row in trained.progressed.history[1:])


def _plain(recipe: Any, splits: Any, *, fused: bool) -> float:
    """Seconds of an epoch of the same network, optimiser and batches as tf_keras trains them by itself."""
    import time

    import tf_keras

    from training.fit.stages import build_model
    from training.network.fused_adam import FusedAdam
    from training.network.losses import build_loss, build_metrics

    assert recipe.optimizer.name == "adam"
    feed = recipe.pipeline.bind(splits.train, classes=len(splits.labels))
    model = build_model(recipe, feed, classes=len(splits.labels))
    adam = FusedAdam if fused else tf_keras.optimizers.Adam
    model.compile(
        optimizer=adam(recipe.optimizer.learning_rate),
        loss=build_loss(recipe.loss),
        metrics=build_metrics(recipe.metrics),
    )
    ends: list[float] = []
    one_hot = np.eye(len(splits.labels), dtype=np.float32)
    train, held_out = splits.train, splits.validation
    model.fit(
        train.instances,
        one_hot[train.labels],
        batch_size=recipe.fitting.batch_size,
        epochs=EPOCHS,
        validation_data=(held_out.instances, one_hot[held_out.labels]),
        validation_batch_size=recipe.fitting.evaluation_batch_size,
        callbacks=[tf_keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: ends.append(time.monotonic()))],
        verbose=0,
    )
    return median(np.diff(ends).tolist())
