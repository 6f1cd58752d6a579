"""Training batches whose targets are a teacher's answers; see ``Distillation``."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import tensorflow as tf

from app.contract.model_spec import SAVED_MODEL_FILE, ModelSpec
from app.contract.steps import Classification
from app.errors import VersionRefused
from training.data.pipelines import Feed
from training.data.settings import Span
from training.datasets.splits import Splits
from training.errors import SettingRefused
from training.export.converting import quiet
from training.export.saved_model import load_saved_model
from training.recipe.fitting import Distillation
from training.recipe.recipe import OUTPUT_NAME

SMALLEST = 1e-7
"""A probability below this counts as this one."""


def taught(feed: Feed, splits: Splits, span: Span, distillation: Distillation, *, steps: int) -> Any:
    """The batches of ``feed.training`` with the teacher's probabilities, float32 (batch, classes), as targets.

    Args:
        feed: with one input.
        splits: whose training part is read.
        span: epochs; each starts anew with the first of ``rounds`` when all have been read.
        distillation: with a teacher.
        steps: batches of one epoch.

    Returns:
        tf.data.Dataset; the teacher answers each batch when it is read for the first time.

    Raises:
        SettingRefused: the teacher has no SavedModel, or other inputs or labels than the data.
    """
    directory = Path(distillation.teacher or "")
    _check(directory, feed, splits)
    with quiet():
        teacher = load_saved_model(directory)
    answer, name = teacher.signatures["serving_default"], feed.input.name

    def label(inputs: Any, targets: Any) -> tuple[Any, Any]:
        probabilities = answer(**{name: inputs})[OUTPUT_NAME]
        logits = tf.math.log(tf.maximum(probabilities, SMALLEST))
        return inputs, tf.ensure_shape(tf.nn.softmax(logits / distillation.temperature), targets.shape)

    rounds = min(distillation.rounds, span.epochs)
    batches = feed.training(splits.train, replace(span, first_epoch=0, epochs=rounds))
    answered = batches.map(label, num_parallel_calls=1, deterministic=True).cache().repeat()
    answered = answered.skip(span.first_epoch % rounds * steps).prefetch(8)
    answered.teacher = teacher  # its signature references its variables only weakly
    return answered


def _check(directory: Path, feed: Feed, splits: Splits) -> None:
    """Refuse a teacher that cannot answer the rows of this data."""
    try:
        spec = ModelSpec.read(directory)
    except VersionRefused as error:
        raise SettingRefused(
            f"distillation.teacher {directory} is not a published version, such as models/NAME/1: {error}"
        ) from error
    if not (directory / SAVED_MODEL_FILE).is_file():
        raise SettingRefused(
            f"distillation.teacher {directory} has no SavedModel; name a version that was trained here"
        )
    of_teacher = [(tensor.name, tensor.dtype, tensor.shape) for tensor in spec.inputs]
    of_data = [(tensor.name, tensor.dtype, tensor.shape) for tensor in feed.inputs]
    if of_teacher != of_data or len(of_data) != 1:
        raise SettingRefused(f"distillation.teacher {directory} reads {of_teacher}, and the data gives {of_data}")
    labels = spec.postprocessing.labels if isinstance(spec.postprocessing, Classification) else ()
    if tuple(labels) != tuple(splits.labels):
        raise SettingRefused(
            f"distillation.teacher {directory} knows the classes {', '.join(labels) or 'of no label'}, "
            f"and the data has {', '.join(splits.labels)}"
        )
