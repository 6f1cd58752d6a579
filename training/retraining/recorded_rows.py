"""New rows from what a service recorded: the instances to which a client sent the right answer. No TensorFlow."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from app.contract.recordings.instance import RecordedInstance
from app.contract.recordings.reading import read_recordings
from app.contract.tensor_spec import TensorSpec
from training.data.pipelines import Feed, TextPipeline
from training.datasets.splits import Examples, Splits
from training.errors import DataMissing, DataUnusable
from training.recipe.recipe import Recipe
from training.sources.labels import known_class

UNANSWERED = "without the right answer"
TOKEN_IDS = "sent as token ids, not as a text"


def read_recorded_rows(path: Path, recipe: Recipe, feed: Feed, old: Splits) -> tuple[Examples, dict[str, int]]:
    """The recorded instances with the right answer, and why how many others are left out.

    Args:
        path: exported file, or directory of recordings.
        recipe, feed, old: see ``read_new_rows``.

    Raises:
        DataMissing: the file cannot be read.
        DataUnusable: no instance has the right answer; or one is of another model or form, or its label is unknown.
    """
    reasons: Counter[str] = Counter()
    kept: list[RecordedInstance] = []
    try:
        for each in read_recordings(path):
            if each.model != recipe.name:
                raise DataUnusable(f"{path}: {_place(each)} was sent to model {each.model!r}, not {recipe.name!r}")
            if each.feedback is None:
                reasons[UNANSWERED] += 1
            elif isinstance(recipe.pipeline, TextPipeline) and not isinstance(each.inputs.get(feed.input.name), str):
                reasons[TOKEN_IDS] += 1
            else:
                kept.append(each)
    except OSError as error:
        raise DataMissing(f"{path} cannot be read: {error.strerror}") from error
    if not kept:
        found = ", ".join(f"{count} {reason}" for reason, count in reasons.items()) or "none at all"
        raise DataUnusable(f"{path} has no recorded instance with the right answer ({found}); send feedback first")
    places = [f"{path}: {_place(each)}" for each in kept]
    instances = _instances(kept, places, feed)
    return Examples(instances=instances, labels=_answers(kept, places, recipe, old)), dict(reasons)


def _place(each: RecordedInstance) -> str:
    return f"instance {each.instance} of request {each.request_id!r}"


def _instances(
    kept: Sequence[RecordedInstance], places: Sequence[str], feed: Feed
) -> npt.NDArray[Any] | tuple[str, ...]:
    """In the form of the old ones: texts, an array, or a structured array with a field for each column."""
    if feed.table is None:
        values = [_input(each, place, feed.input) for each, place in zip(kept, places, strict=True)]
        return tuple(map(str, values)) if feed.tokenizer else np.stack(values)
    kinds = [(tensor.name, object if tensor.is_string else np.float32) for tensor in feed.inputs]
    instances = np.empty(len(kept), kinds)
    for row, (each, place) in enumerate(zip(kept, places, strict=True)):
        for tensor in feed.inputs:
            value = _input(each, place, tensor)
            instances[tensor.name][row] = value.encode() if isinstance(value, str) else value.item()
    return instances


def _input(each: RecordedInstance, place: str, tensor: TensorSpec) -> Any:
    """One input of an instance, as the model received it."""
    value = each.inputs.get(tensor.name)
    if value is None:
        raise DataUnusable(f"{place} has no input {tensor.name!r}; it has {', '.join(each.inputs)}")
    if isinstance(value, str):
        return value
    if value.dtype != tensor.numpy_dtype or (not tensor.is_variable and value.shape != tensor.shape):
        raise DataUnusable(
            f"{place} has {tensor.name!r} as {value.dtype} of shape {value.shape}; the model takes {tensor.dtype} of "
            f"shape {tensor.shape}"
        )
    return value


def _answers(kept: Sequence[RecordedInstance], places: Sequence[str], recipe: Recipe, old: Splits) -> npt.NDArray[Any]:
    """int32 (rows,) of classes, or float32 (rows, width) of numbers."""
    answers: list[Any] = []
    for each, place in zip(kept, places, strict=True):
        assert each.feedback is not None  # those without are left out
        if old.labels:
            if each.feedback.label is None:
                raise DataUnusable(f"{place} has a number as the right answer, but {recipe.name} classifies")
            answers.append(known_class(place, each.feedback.label, old.labels))
            continue
        value = each.feedback.value
        if isinstance(value, dict):
            value = value.get(next(iter(recipe.task.activations)))
        numbers = np.atleast_1d(np.array(value, np.float32)).ravel() if value is not None else np.zeros(0)
        if numbers.shape != old.train.labels.shape[1:]:
            raise DataUnusable(
                f"{place} has {each.feedback.value!r} as the right answer; expected {old.train.labels.shape[1]} numbers"
            )
        answers.append(numbers)
    return np.array(answers, np.int32 if old.labels else np.float32)
