"""One retraining, from new rows to a version: read ``retrain`` first, it contains all steps.

It starts from the published weights and trains on a mix of new and old rows. The version that is published is better on
new rows that it has not seen, and not worse on the old validation rows.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from app.contract.manifest import verify_manifest
from app.contract.model_spec import ModelSpec
from training.data.pipelines import Feed
from training.datasets.splits import SYNTHETIC, Examples, Splits
from training.errors import SettingRefused
from training.export.keras_weights import write_keras_weights
from training.export.model_export import saved_model_runner
from training.export.version_predictor import VersionPredictor
from training.fit.train_network import Trained, train_network
from training.fit.training_settings import Training
from training.measure.decisive import name_of, shown
from training.measure.evaluate import predict
from training.measure.label_sets import MultiLabel
from training.measure.several_outputs import SeveralTasks
from training.measure.tasks import Measured
from training.overrides import apply_overrides
from training.recipe.recipe import Recipe
from training.recipe.recipe_data import read_recipe_data
from training.retraining.comparison import Comparison
from training.retraining.mixing import Mix, mix
from training.retraining.new_rows import NewRows, read_new_rows
from training.retraining.start import Start, published_network
from training.runs.directories import CONFIG_FILE, RETRAINED, read_metrics
from training.runs.published_data import refuse_changed_data
from training.runs.record import Phases, Plan, config_document, write_json
from training.runs.run import Outcome, conclude
from training.sources.duplicates import file_hash

LEARNING_RATE_FACTOR = 0.1
"""Default learning rate, as a share of the recipe's: the weights are to move, not to begin again."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """What to retrain.

    Attributes:
        recipe: with the overrides of the version, and no others.
        version: directory of the published version.
        data: path of the new rows.
        margin: see ``Comparison``.
        share_old: see ``mix``.
        changes: ``path=value`` of settings for this training.
    """

    recipe: Recipe
    version: Path
    data: Path
    margin: float
    share_old: float
    changes: tuple[str, ...]


def retrain(request: Request, plan: Plan, *, directory: Path, console: Console) -> tuple[Outcome, Comparison]:
    """Train a published version again with new rows; publish if it is better, and requested.

    Args:
        request: what to retrain.
        plan: as for a run; its overrides are those of the version.
        directory: of the new run.
        console: progress and results.

    Raises:
        TrainingError: and its subclasses; one sentence each. All but ``TrainingDiverged`` before the training.
        VersionRefused: the version is damaged.
    """
    phases, recipe, version = Phases(), settings_of(request), request.version
    refuse_kind(recipe)
    verify_manifest(version)
    published = read_metrics(version)
    with phases.phase("data"):
        old = read_recipe_data(recipe, synthetic=plan.dataset == SYNTHETIC)
        refuse_changed_data(recipe, old, published, version)
        if old.train.weights is not None:
            raise SettingRefused(
                f"the rows of {recipe.name} have weights, and new rows have none; train it with all rows: "
                f"`python -m training run {recipe.name}`"
            )
        feed = recipe.pipeline.bind(old.train, classes=old.classes)
        new = read_new_rows(request.data, recipe, feed, old)
        chosen = mix(
            new.examples, old, share_old=request.share_old, epochs=recipe.fitting.epochs, seed=recipe.fitting.seed
        )
    tell(console, request, old, new, chosen)
    with phases.phase("preparation"):
        start = published_network(recipe, feed, old, version)
        batch_size = min(recipe.fitting.batch_size, feed.rows(chosen.training))
        epochs = -(-recipe.fitting.epochs // chosen.passes)
        recipe = apply_overrides(recipe, [f"fitting.batch_size={batch_size}", f"fitting.epochs={epochs}"])
    with phases.phase("comparison"):
        spec = ModelSpec.read(version)
        before = _figures(recipe, VersionPredictor(spec, saved_model_runner(version, spec)), feed, old, chosen)
    directory.mkdir(parents=True, exist_ok=True)  # only now: a mistake leaves no run behind
    record = {
        "version": f"{version.parent.name}/{version.name}",
        "data": request.data.name,
        "changes": list(request.changes),
    }
    write_json(directory / CONFIG_FILE, {**config_document(recipe, plan), RETRAINED: record})
    mixed = replace(old, train=chosen.training)
    trained = _train(recipe, start, feed, mixed, directory=directory, console=console)
    phases.seconds["training"] = round(trained.seconds, 2)
    after = _figures(recipe, trained.model, feed, old, chosen)
    comparison = Comparison(
        published_old=before[0],
        retrained_old=after[0],
        published_new=before[1],
        retrained_new=after[1],
        margin=request.margin,
    )
    show(console, comparison, version)
    outcome = conclude(
        recipe,
        plan,
        mixed,
        feed,
        trained,
        phases,
        directory=directory,
        console=console,
        refusal="" if comparison.passed else comparison.verdict,
        record={RETRAINED: {**record, **_record(request, new, chosen, comparison)}},
    )
    return outcome, comparison


def settings_of(request: Request) -> Recipe:
    """The recipe with the settings of this training.

    A tenth of its learning rate; the weights of the last epoch, because to choose them by the old validation rows would
    prefer those that have learned the least. The changes of the request count more.

    Raises:
        SettingRefused: see ``apply_overrides``.
    """
    learning_rate = request.recipe.optimizer.learning_rate * LEARNING_RATE_FACTOR
    return apply_overrides(
        request.recipe,
        [
            f"optimizer.learning_rate={learning_rate!r}",
            "fitting.keep=last",
            "fitting.patience=none",
            *request.changes,
        ],
    )


def refuse_kind(recipe: Recipe) -> None:
    """Refuse a recipe whose answers recordings and feedback cannot hold: several outputs, or several labels a row.

    Raises:
        SettingRefused: names the kind.
    """
    kind = {SeveralTasks: "has several heads", MultiLabel: "gives sets of labels"}.get(type(recipe.task))
    if kind:
        raise SettingRefused(
            f"{recipe.name} {kind}; only models of one class or of numbers are retrained: add the new rows to its data "
            f"and use `python -m training run {recipe.name}`"
        )


def tell(console: Console, request: Request, old: Splits, new: NewRows, chosen: Mix) -> None:
    """Print where it starts from, and which rows it trains on."""
    counts = chosen.counts
    share = counts.old / (counts.old + counts.new * chosen.passes)
    lines = [
        f"starts from {request.version}",
        f"old rows of {old.name}: {counts.old} of {len(old.train)} to train, {len(old.validation)} to validate",
        f"new rows of {request.data.name}: {counts.new} to train, {counts.held_out} held out; "
        f"{counts.copies} left out as copies of old validation or test rows",
        *(f"{count} rows of {request.data.name} left out: {reason}" for reason, count in new.left_out.items()),
        f"share of old rows: {share:.2f}; passes over the new rows in each epoch: {chosen.passes}",
    ]
    for line in lines:
        console.print(line, highlight=False, markup=False, soft_wrap=True)


def show(console: Console, comparison: Comparison, version: Path) -> None:
    """Print the four figures."""
    table = Table(name_of(comparison.published_old), f"published (version {version.name})", "retrained")
    for rows, before, after in (
        ("old validation rows", comparison.published_old, comparison.retrained_old),
        ("held-out new rows", comparison.published_new, comparison.retrained_new),
    ):
        table.add_row(f"{before.rows} {rows}", shown(before), shown(after))
    console.print(table)
    if comparison.passed:  # otherwise it is the reason why nothing is published, which is printed at the end
        console.print(comparison.verdict, highlight=False, soft_wrap=True)


def _train(recipe: Recipe, start: Start, feed: Feed, mixed: Splits, *, directory: Path, console: Console) -> Trained:
    training = Training(recipe.optimizer, recipe.loss, recipe.metrics, recipe.fitting, None)
    trained = train_network(start.trained, training, feed, mixed, directory=directory, console=console)
    write_keras_weights(start.finished, directory)
    return replace(trained, model=start.finished)


def _figures(recipe: Recipe, model: Any, feed: Feed, old: Splits, chosen: Mix) -> tuple[Measured, Measured]:
    """Figures on the old validation rows and on the held-out new ones."""

    def measured(examples: Examples) -> Measured:
        answers = predict(model, feed, examples, batch_size=recipe.fitting.evaluation_batch_size)
        return recipe.task.measure(answers, feed.truth(examples), names=old.labels)

    return measured(old.validation), measured(chosen.held_out)


def _record(request: Request, new: NewRows, chosen: Mix, comparison: Comparison) -> dict[str, Any]:
    """What metrics.json says of a retraining."""
    return {
        "sha256": file_hash(request.data) if request.data.is_file() else None,
        "rows": chosen.counts.as_json(),
        "left_out": new.left_out,
        "passes": chosen.passes,
        "share_old": request.share_old,
        "comparison": comparison.as_json(),
    }
