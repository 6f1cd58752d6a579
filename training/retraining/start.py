"""The published network, built from the recipe, with the weights of the version, and proved by its answers."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from app.contract.golden import Golden, magnitude
from app.contract.model_spec import ModelSpec
from app.contract.steps import TextPreprocessing
from app.contract.tensor_spec import TensorSpec
from app.contract.tokenizer import Tokenizer
from training.data.pipelines import Feed
from training.datasets.splits import Splits
from training.errors import WeightsRefused
from training.export.model_export import keras_runner, saved_model_runner
from training.export.saved_weights import adopt_saved_weights
from training.fit.stages import build_model, finish_model, handed_on, stage_data
from training.measure.tasks import PROBABILITIES
from training.recipe.recipe import Recipe

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
    _check_inputs(recipe, feed, spec, version)
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


class PublishedVersion:
    """A version as something that predicts, like a Keras model: its own SavedModel, with all that was published.

    Args:
        version: directory.
    """

    def __init__(self, version: Path) -> None:
        self._spec = ModelSpec.read(version)
        self._run = saved_model_runner(version, self._spec)

    def predict(self, dataset: Any, verbose: int = 0) -> Array:
        """The first output for all batches of a tf.data.Dataset of (inputs, targets): (rows, *shape)."""
        return np.concatenate([self._answer(inputs) for inputs, _ in dataset])

    def _answer(self, inputs: Any) -> Array:
        tensors = inputs if isinstance(inputs, Mapping) else {self._spec.inputs[0].name: inputs}
        arrays = {name: np.asarray(tensor) for name, tensor in tensors.items()}
        return self._run(arrays)[self._spec.outputs[0].name]


def _check_inputs(recipe: Recipe, feed: Feed, spec: ModelSpec, version: Path) -> None:
    """Refuse a recipe whose pipeline makes other inputs than those of the version."""
    mine, theirs = ([_in_words(tensor) for tensor in tensors] for tensors in (feed.inputs, spec.inputs))
    found, wanted = ", ".join(mine), ", ".join(theirs)
    step = spec.preprocessing
    if feed.inputs == spec.inputs and feed.preprocessing != step:
        found, wanted = "the steps of its pipeline", "those in model.json"
    elif feed.inputs == spec.inputs:
        if not feed.tokenizer or not isinstance(step, TextPreprocessing):
            return
        words = Tokenizer.read(
            version / step.vocabulary, max_length=step.max_length, keep=step.keep, scheme=step.scheme
        )
        if words.tokens == feed.tokenizer.tokens:
            return
        found, wanted = "a vocabulary of its training data", "the one in vocabulary.txt"
    raise WeightsRefused(
        f"{recipe.name} makes other inputs than version {version.name} takes: {found}, not {wanted}; use the "
        "recipe and the data that the version was trained with"
    )


def _in_words(tensor: TensorSpec) -> str:
    largest = "" if tensor.maximum is None else f" up to {tensor.maximum:g}"
    gaps = "" if tensor.finite else " with gaps"
    return f"{tensor.name!r} {tensor.dtype} {tensor.shape}{largest}{gaps}"


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
