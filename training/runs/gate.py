"""What must be true before the test set is used and a version published; what a training cost above its targets."""

from training.datasets.splits import SYNTHETIC
from training.fit.train_network import Trained
from training.measure.evaluate import Evaluation
from training.measure.tasks import Measured
from training.recipe.recipe import Recipe
from training.runs.record import Plan

MARGIN = 0.005
"""Validation must exceed the target by this before the test set is used: half a point."""
REMEDY = "; --force tests and publishes anyway"


def exceeded(recipe: Recipe, trained: Trained) -> list[str]:
    """One sentence for each cost, parameters or minutes, above the recipe's target."""
    parameters, minutes = int(trained.model.count_params()), trained.seconds / 60
    targets = recipe.targets
    return [
        f"{value} are more than the target of {limit:,g} {unit}"
        for value, amount, limit, unit in (
            (f"{parameters:,} parameters", parameters, targets.parameters, "parameters"),
            (f"{minutes:.1f} minutes", minutes, targets.minutes, "minutes"),
        )
        if limit is not None and amount > limit
    ]


def may_test(recipe: Recipe, validation: Measured | None, plan: Plan) -> tuple[bool, str]:
    """Whether the test set may be used, and a sentence with the reason."""
    target = recipe.targets.test_accuracy
    if target is None:
        return True, "the recipe sets no target"
    if plan.dataset == SYNTHETIC:
        return True, "synthetic data: the target does not apply"
    required = target + MARGIN
    if validation is None:
        short = f"no validation part shows whether {required:.4f} is reached, the target and half a point"
    else:
        assert isinstance(validation, Evaluation)  # only classes have a target
        if validation.accuracy >= required:
            reached = f"validation accuracy {validation.accuracy:.4f} reaches {required:.4f}"
            return True, f"{reached}, the target and half a point"
        short = f"validation accuracy {validation.accuracy:.4f} is below {required:.4f}, the target and half a point"
    return (True, f"{short}; tested anyway, by --force") if plan.force else (False, f"{short}{REMEDY}")
