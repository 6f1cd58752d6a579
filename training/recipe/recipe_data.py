"""The data of a recipe: read, decoded, checked, and of the kind that its task requires."""

from training.data.reading import read_data
from training.datasets.splits import Splits
from training.recipe.heads import check_targets
from training.recipe.recipe import Recipe


def read_recipe_data(recipe: Recipe, *, synthetic: bool) -> Splits:
    """The parts of the data of a recipe.

    Args:
        recipe: with the overrides applied.
        synthetic: whether to draw the data set in place of reading it.

    Raises:
        DataUnusable: see ``check_targets``; the other errors are those of ``read_data``.
    """
    splits = read_data(recipe.data, recipe.pipeline, synthetic=synthetic)
    check_targets(recipe.name, recipe.task, splits)
    return splits
