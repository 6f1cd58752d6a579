"""Whether a recipe and its data are those that a version was trained with. Imports no TensorFlow."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from app.contract.model_spec import ModelSpec
from app.contract.steps import TextPreprocessing
from app.contract.tensor_spec import TensorSpec
from app.contract.tokenizer import Tokenizer
from training.data.pipelines import Feed
from training.datasets.splits import Splits
from training.errors import DataUnusable, WeightsRefused
from training.recipe.recipe import Recipe
from training.runs.record import all_settings


def refuse_changed_data(recipe: Recipe, old: Splits, published: Mapping[str, Any], version: Path) -> None:
    """Refuse old data that is not what the version was trained on: its validation rows may have been training rows.

    Raises:
        DataUnusable: it has no validation part, or its files or the settings of its split differ.
    """
    if not len(old.validation):
        raise DataUnusable(
            f"{recipe.name} has no validation part, so nothing would show what is lost; set one in "
            f"its data, and train and publish it again"
        )
    again = f"train and publish it again with `python -m training run {recipe.name} --publish`"
    before = published["dataset"].get("files_sha256", {})
    if sorted(before.values()) != sorted(old.files.values()):
        names = ", ".join(old.files) or old.name
        raise DataUnusable(
            f"{names} has changed since version {version.name} was trained on it, so its validation rows may be rows "
            f"that the version has seen; restore it (new rows are for `training retrain`), or {again}"
        )
    now = all_settings(recipe)
    for path, value in published["settings"].items():
        if path.startswith("data.") and path in now and now[path] != value:
            raise DataUnusable(
                f"{path} is {now[path]!r}, but version {version.name} was trained with {value!r}, so its validation "
                f"rows may be rows that the version has seen; set it back in the recipe, or {again}"
            )


def check_inputs(recipe: Recipe, feed: Feed, spec: ModelSpec, version: Path) -> None:
    """Refuse a recipe whose pipeline makes other inputs than those of the version.

    Raises:
        WeightsRefused: names both.
    """
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
