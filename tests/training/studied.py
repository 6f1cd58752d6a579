"""The study of a recipe after a short training."""

from training.fit.fit import fit
from training.recipe.recipe import Subject


def studied(recipe, splits, tmp_path, console, *, synthetic=False, **options):
    """Train, and return what the study of the recipe finds, with the model.

    Args:
        recipe: with settings that are small enough.
        splits: its data.
        tmp_path: directory of the run.
        console: for the training.
        synthetic: whether the data is the recipe's generated one.
        options: of ``fit``.
    """
    feed = recipe.pipeline.bind(splits.train, classes=splits.classes)
    trained = fit(recipe, feed, splits, directory=tmp_path, console=console, **options)
    subject = Subject(
        recipe=recipe,
        splits=splits,
        feed=feed,
        model=trained.model,
        synthetic=synthetic,
        validation=None,
        test=None,
        directory=tmp_path,
        console=console,
    )
    return recipe.study(subject), trained.model
