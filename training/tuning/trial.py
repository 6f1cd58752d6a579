"""One trial of a study: trains the recipe with the chosen settings, reports every validation, and says how it ended."""

import gc
import math
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from training.data.pipelines import Feed
from training.datasets.splits import SYNTHETIC, Splits
from training.errors import DiskFull
from training.fit.fit import fit
from training.fit.run_files import HISTORY_FILE, Progressed, write_history
from training.recipe.recipe import Recipe
from training.recipe.recipe_data import read_recipe_data


class Hopeless(Exception):
    """Raised within a trial that is worse than the others at the same epoch; ends its training."""


@dataclass(frozen=True, kw_only=True)
class Tried:
    """How a trial ended.

    Attributes:
        value: the monitor of the weights that a run would keep; of a pruned trial, of its last validation; None for a
            failed one.
        epochs: finished ones.
        pruned: whether it was ended because others were better at that epoch.
        failed: why it gives no value, in words; empty if it does.
    """

    value: float | None
    epochs: int
    seconds: float
    pruned: bool = False
    failed: str = ""


@dataclass(frozen=True, kw_only=True)
class Material:
    """The data that all trials share, unless one changes a setting of the data or of the pipeline."""

    recipe: Recipe
    dataset: str
    splits: Splits

    def of(self, recipe: Recipe) -> tuple[Splits, Feed]:
        """Parts and feed for the recipe of a trial."""
        same = recipe.data == self.recipe.data and recipe.pipeline == self.recipe.pipeline
        splits = self.splits if same else read_recipe_data(recipe, synthetic=self.dataset == SYNTHETIC)
        return splits, recipe.pipeline.bind(splits.train, classes=splits.classes)


def run_trial(recipe: Recipe, material: Material, *, directory: Path, hopeless: Callable[[int, float], bool]) -> Tried:
    """Train until the end, or until ``hopeless``; only the history stays in ``directory``.

    Args:
        recipe: with the settings of the trial.
        material: the data; the test part is not read.
        directory: of the trial; emptied first.
        hopeless: (epoch from 1, value of the monitor) -> whether to stop.

    Raises:
        DiskFull: which would end every other trial, too.
    """
    import tf_keras

    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    monitor, seen = recipe.fitting.monitor, [math.nan]
    started = time.monotonic()

    def after_epoch(epoch: int, figures: Mapping[str, float]) -> None:
        if monitor in figures:
            seen.append(float(figures[monitor]))
            if math.isfinite(seen[-1]) and hopeless(epoch, seen[-1]):
                raise Hopeless

    value, pruned, failed = None, False, ""
    try:
        splits, feed = material.of(recipe)
        trained = fit(recipe, feed, splits, directory=directory, console=Console(quiet=True), after_epoch=after_epoch)
        kept_best = recipe.fitting.keep == "best" and trained.progressed.best is not None
        value = trained.progressed.best if kept_best else seen[-1]
    except Hopeless:
        value, pruned = seen[-1], True
    except DiskFull:
        raise
    except Exception as error:  # noqa: BLE001  (the boundary of a trial: its failure is recorded, and the next one runs)
        failed = _reason(error)
    if not failed and (value is None or not math.isfinite(value)):
        value, failed = None, f"{monitor} is {value}"
    progressed = Progressed.read(directory)
    shutil.rmtree(directory)  # checkpoints and weights: the run that repeats the trial has them again
    directory.mkdir()
    write_history(directory / HISTORY_FILE, progressed.history)
    tf_keras.backend.clear_session()
    gc.collect()
    return Tried(
        value=value,
        epochs=progressed.epoch,
        seconds=round(time.monotonic() - started, 2),
        pruned=pruned,
        failed=failed,
    )


def _reason(error: Exception) -> str:
    """Kind and first line of an error; TensorFlow's has many lines when memory is short."""
    first = (str(error).strip() or "no message").splitlines()[0]
    return f"{type(error).__name__}: {first[:300]}"
