"""Refuses, before anything is trained, a recipe with a network whose answers depend on more than their own rows."""

from typing import Any

from app.contract.steps import TextPreprocessing
from training.data.pipelines import Feed
from training.datasets.splits import Splits
from training.errors import SettingRefused
from training.export.padding_check import padding_counts
from training.export.recurrent_cells import remembering
from training.fit.stages import build_model, finish_model, handed_on, stage_data
from training.recipe.recipe import Recipe, Signature


def refuse_unservable(recipe: Recipe, feed: Feed, splits: Splits) -> None:
    """Check the networks of all stages, that of the recipe, and the finished one: for state that layers keep from batch
    to batch, and, with texts of variable length, for answers that padding changes.

    They are built for this and dropped. A stage that counts padding would pass on weights that depend on which texts
    shared a batch.

    Args:
        recipe: all settings.
        feed: the recipe's pipeline, bound to ``splits.train``.
        splits: the data of the recipe.

    Raises:
        SettingRefused: one of them keeps state, or padding changes its answers; names the layer, and the cure.
        DataUnusable: see ``check_splits``, for the data of a stage.
    """
    if not isinstance(feed.preprocessing, TextPreprocessing) or not feed.input.is_variable:
        if recipe.stages:  # they train first; otherwise the network is about to be built
            refuse_state(recipe, build_model(recipe, feed, classes=splits.classes))
        return
    inherited: dict[str, list[Any]] = {}
    for stage in recipe.stages:
        own_splits, own_feed = stage_data(recipe, stage, feed, splits)
        model = build_model(recipe, own_feed, classes=own_splits.classes, stage=stage)
        _check(recipe, model, own_feed, f"the network of stage {stage.name!r}", longest=stage.max_length)
        inherited |= handed_on(stage, model)
    classes = splits.classes
    model = build_model(recipe, feed, classes=classes)
    _check(recipe, model, feed, "the network")
    finished = finish_model(recipe, model, feed, inherited, classes=classes)
    if finished is not model:
        _check(recipe, finished, feed, "the finished network")


def refuse_state(recipe: Recipe, model: Any) -> None:
    """Refuse a network with a layer that keeps its state from batch to batch. Raises SettingRefused."""
    if reason := remembering(model):
        raise SettingRefused(f"{recipe.name}: {reason}")


def _check(recipe: Recipe, model: Any, feed: Feed, whose: str, *, longest: int | None = None) -> None:
    """``longest`` is the most tokens of a text; None takes that of the pipeline."""
    refuse_state(recipe, model)
    step = feed.preprocessing
    if not isinstance(step, TextPreprocessing) or not feed.input.is_variable:
        return
    id_count = Signature.of(feed, classes=0).id_count
    if reason := padding_counts(model, id_count=id_count, longest=longest or step.max_length, trained=False):
        raise SettingRefused(
            f"{recipe.name}: padding changes the answers of {whose}, {reason}. Texts of different lengths share "
            "batches, in training and in the service"
        )
