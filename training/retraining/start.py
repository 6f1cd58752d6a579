"""The published network, built from the recipe, with the weights of the version, and proved by its answers."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from app.contract.golden import Golden, magnitude
from app.contract.model_spec import ModelSpec
from training.data.pipelines import Feed
from training.datasets.splits import Splits
from training.errors import WeightsRefused
from training.export.model_export import keras_runner
from training.export.saved_weights import adopt_saved_weights
from training.fit.stages import build_model, finish_model, handed_on, stage_data
from training.measure.tasks import PROBABILITIES
from training.recipe.recipe import Recipe
from training.runs.published_data import check_inputs

TOLERANCE = 1e-4
"""Largest difference from the published answers, of the largest one: the rounding of other batch sizes is 1e-6."""
SMALLEST = 1e-6
"""Smaller probabilities do not tell the temperature of a calibration: they are rounded."""

Array = npt.NDArray[Any]


@dataclass(frozen=True, kw_only=True)
class Start:
    """The network that a retraining starts from.

    Attributes:
        trained: the network that is trained; has the published weights.
        finished: the one to measure and to publish, which shares its weights.
    """

    trained: Any
    finished: Any


def published_network(recipe: Recipe, feed: Feed, splits: Splits, version: Path) -> Start:
    """Build the networks of a recipe, and give them the weights of a version.

    Weights of stages are part of the finished network, and so they are those of the version, too.

    Args:
        recipe: that the version was trained with.
        feed: its pipeline, bound to the training part that the version was trained on.
        splits: its data.
        version: directory.

    Raises:
        WeightsRefused: the network has other inputs, layers or shapes than the version, or gives other answers.
    """
    spec = ModelSpec.read(version)
    check_inputs(recipe, feed, spec, version)
    classes = splits.classes
    # The values do not count: they are replaced. The layers of the finished network are built from them.
    inherited: dict[str, list[Any]] = {}
    for stage in recipe.stages:
        own_splits, own_feed = stage_data(recipe, stage, feed, splits)
        network = build_model(recipe, own_feed, classes=own_splits.classes, stage=stage)
        inherited |= handed_on(stage, network)
    trained = build_model(recipe, feed, classes=classes)
    recipe.adopt(recipe.network, trained, inherited)  # may also say which layers are not trained
    finished = finish_model(recipe, trained, feed, inherited, classes=classes)
    adopt_saved_weights(finished, spec, version)
    _check_answers(recipe, finished, spec, version)
    return Start(trained=trained, finished=finished)


def _check_answers(recipe: Recipe, model: Any, spec: ModelSpec, version: Path) -> None:
    """Compare with the golden samples; probabilities up to a temperature, which a calibration adds later."""
    golden, run, name = Golden.read(version), keras_runner(model, spec), spec.outputs[0].name
    wanted = golden.outputs[name]
    answers = np.concatenate([run(golden.row(row))[name] for row in range(golden.rows)])
    if name == PROBABILITIES:
        answers = _at_temperature_of(answers, wanted)
    difference = float(np.abs(answers - wanted).max())
    if not difference <= TOLERANCE * magnitude({name: wanted}):
        raise WeightsRefused(
            f"the network of {recipe.name} with the weights of version {version.name} gives other answers than the "
            f"version: they differ by up to {difference:.2g}; use the recipe that the version was trained with"
        )


def _at_temperature_of(answers: Array, wanted: Array) -> Array:
    """Probabilities (rows, classes) at the temperature at which they come nearest to others."""
    mine, theirs = np.log(np.maximum(answers, 1e-30)), np.log(np.maximum(wanted, 1e-30))
    both = (answers > SMALLEST) & (wanted > SMALLEST)
    kept = [np.where(both, scores, np.nan) for scores in (mine, theirs)]
    centred = [np.nan_to_num(scores - np.nanmean(scores, axis=1, keepdims=True)) for scores in kept]
    square = float((centred[0] * centred[0]).sum())
    slope = float((centred[0] * centred[1]).sum()) / square if square > 0 else 1.0
    scaled = np.exp(slope * (mine - mine.max(axis=1, keepdims=True)))
    found: Array = scaled / scaled.sum(axis=1, keepdims=True)
    return answers if np.abs(answers - wanted).max() <= np.abs(found - wanted).max() else found
