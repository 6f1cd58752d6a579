"""One run, from data to a published version; it writes to one directory, except for the version.

Read ``run`` first: it contains all steps. The test set is read at the end, once, and only if the validation set shows
that the target is within reach.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Console

from app.contract.model_spec import ModelSpec
from app.contract.steps import BatchingHints
from training.data.pipelines import Feed
from training.data.reading import read_data
from training.datasets.splits import SYNTHETIC, Examples, Generated, Splits
from training.disk import replaced, space_wanted
from training.fit.distribution import ALONE, Distribution
from training.fit.fit import fit, trained_model
from training.measure.card import model_card
from training.measure.evaluate import predict
from training.measure.findings import Findings
from training.measure.report import write_report
from training.measure.tasks import Measured
from training.recipe.recipe import Recipe, Subject
from training.runs.directories import BASELINE_FILE, CARD_FILE, CONFIG_FILE, METRICS_FILE, TEST_FILE
from training.runs.gate import exceeded, may_test
from training.runs.record import Phases, Plan, config_document, metrics_document, write_json

if TYPE_CHECKING:
    from training.publish.golden_rows import Material

BASELINE_ROWS = 5000
EXAMPLES = 320
"""Most held-out rows that golden samples are chosen from, if a recipe publishes examples."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The result of a run.

    Attributes:
        validation: None if the data set has no validation part.
        test: None if the test set was not used or does not exist.
        gate: why the test set may or may not be used, and what --force overruled.
        allowed: whether it may be used, and the model published.
        findings: of the recipe's study.
        version: the published directory.
    """

    directory: Path
    validation: Measured | None
    test: Measured | None
    gate: str
    allowed: bool
    findings: Findings
    version: Path | None
    metrics: Mapping[str, Any]


def run(
    recipe: Recipe, plan: Plan, *, directory: Path, console: Console, distribution: Distribution = ALONE
) -> Outcome:
    """Train, select on validation, test if allowed, report, publish if requested.

    Args:
        recipe: with the overrides applied.
        plan: what to do.
        directory: of the run; an interrupted or untested run in it continues where it stopped.
        console: progress and results.
        distribution: where the network trains; this process is its chief.

    Raises:
        TrainingError: and its subclasses; one sentence each.
    """
    phases = Phases()
    with phases.phase("data"):
        splits = read_data(recipe.data, recipe.pipeline, synthetic=plan.dataset == SYNTHETIC)
    directory.mkdir(parents=True, exist_ok=True)  # only after the data is read: a mistake leaves no run behind
    write_json(directory / CONFIG_FILE, config_document(recipe, plan))
    counts = f"{len(splits.train)} to train, {len(splits.validation)} to validate"
    console.print(f"{splits.name} ({splits.form}): {counts}", highlight=False)
    with phases.phase("preparation"):
        feed = recipe.pipeline.bind(splits.train, classes=len(splits.labels))
    trained = fit(recipe, feed, splits, directory=directory, console=console, distribution=distribution)
    phases.seconds["training"] = round(trained.seconds, 2)
    with phases.phase("validation"):
        validation = _measure(recipe, trained.model, feed, splits.validation, splits.labels)
    for sentence in exceeded(recipe, trained):
        console.print(sentence, highlight=False)
    allowed, gate = may_test(recipe, validation, plan)
    test = None
    if plan.test or plan.repository:
        with phases.phase("test"):
            test = _test_once(recipe, trained.model, feed, splits, directory) if allowed else None
        gate += "; there is no test part" if allowed and not test else ""
    with phases.phase("study"):
        findings = recipe.study(
            Subject(
                recipe=recipe,
                splits=splits,
                feed=feed,
                model=trained.model,
                synthetic=plan.dataset == SYNTHETIC,
                validation=validation,
                test=test,
                directory=directory,
                console=console,
            )
        )
    if plan.repository and plan.force and findings.missed:
        gate = f"{gate}; published though {findings.complaint}, by --force"
    with phases.phase("baseline"):
        baseline = _baseline(recipe, trained.model, feed, splits)
    metrics = metrics_document(recipe, plan, splits, trained, validation, test, findings, gate, phases.seconds)
    write_json(directory / METRICS_FILE, metrics)
    write_json(directory / BASELINE_FILE, baseline)
    write_report(recipe.name, test or validation, trained.progressed.history, metrics, findings, directory=directory)
    card = model_card(recipe.name, recipe.description, metrics)
    with replaced(directory / CARD_FILE) as path:
        path.write_text(card, encoding="utf-8")
    version = None
    if plan.repository and allowed and findings.missed and not plan.force:
        console.print(f"not published: {findings.complaint}; --force publishes anyway", highlight=False)
    elif plan.repository and allowed:
        with space_wanted(
            "the version", f"nothing was published: free some space for {plan.repository}, and add --resume"
        ):
            version = _publish(recipe, feed, splits, trained.model, metrics, baseline, card, plan.repository)
        write_json(directory / METRICS_FILE, {**metrics, "published": f"{version.parent.name}/{version.name}"})
    return Outcome(
        directory=directory,
        validation=validation,
        test=test,
        gate=gate,
        allowed=allowed,
        findings=findings,
        version=version,
        metrics=metrics,
    )


def take_part(recipe: Recipe, dataset: str, *, distribution: Distribution) -> None:
    """Train as a worker that is not the chief: the same steps, but no file of it stays."""
    splits = read_data(recipe.data, recipe.pipeline, synthetic=dataset == SYNTHETIC)
    feed = recipe.pipeline.bind(splits.train, classes=len(splits.labels))
    with TemporaryDirectory(prefix="atelier-worker-") as folder:
        fit(recipe, feed, splits, directory=Path(folder), console=Console(quiet=True), distribution=distribution)


def validate(recipe: Recipe, dataset: str, *, directory: Path) -> Measured | None:
    """Measure the kept weights of a run on its validation set; None if that is empty.

    Raises:
        RunNotFound: the run has no weights yet.
    """
    splits = read_data(recipe.data, recipe.pipeline, synthetic=dataset == SYNTHETIC)
    feed = recipe.pipeline.bind(splits.train, classes=len(splits.labels))
    model = trained_model(recipe, feed, splits, directory=directory)
    return _measure(recipe, model, feed, splits.validation, splits.labels)


def _measure(recipe: Recipe, model: Any, feed: Feed, examples: Examples, names: tuple[str, ...]) -> Measured | None:
    """Figures on ``examples``; None without examples."""
    if not len(examples):
        return None
    answers = predict(model, feed, examples, batch_size=recipe.fitting.evaluation_batch_size)
    return recipe.task.measure(answers, feed.truth(examples), names=names)


def _test_once(recipe: Recipe, model: Any, feed: Feed, splits: Splits, directory: Path) -> Measured | None:
    """Measure on the test set; a run that already did so returns that result. None if the set has no test part."""
    path = directory / TEST_FILE
    if path.is_file():
        return recipe.task.restore(json.loads(path.read_text(encoding="utf-8")))
    test = _measure(recipe, model, feed, splits.read_test(), splits.labels)
    if test:
        write_json(path, test.as_json())
    return test


def _baseline(recipe: Recipe, model: Any, feed: Feed, splits: Splits) -> dict[str, Any]:
    """Statistics of inputs and predictions on about BASELINE_ROWS training rows."""
    sample = feed.sample(splits.train, BASELINE_ROWS)
    answers = predict(model, feed, sample, batch_size=recipe.fitting.evaluation_batch_size)
    return {
        "inputs": dict(feed.described(sample)),
        "predictions": dict(recipe.task.statistics(answers, feed.truth(sample), names=splits.labels)),
    }


def _publish(
    recipe: Recipe,
    feed: Feed,
    splits: Splits,
    model: Any,
    metrics: Mapping[str, Any],
    baseline: Mapping[str, Any],
    card: str,
    repository: Path,
) -> Path:
    from training.publish.publish import publish_model

    return publish_model(
        model,
        model_spec(recipe, feed, splits, model),
        tokenizer=feed.tokenizer,
        material=_material(recipe, feed, splits),
        metrics=metrics,
        baseline=baseline,
        card=card,
        repository=repository,
    )


def _material(recipe: Recipe, feed: Feed, splits: Splits) -> "Material":
    """What golden samples are made from: held-out rows if the recipe publishes them, else what its source draws.

    Rows of tables are always drawn from the statistics of their columns.
    """
    from training.publish.golden_rows import Material

    if feed.table:
        return Material(table=feed.table, every_class=False)
    if recipe.publish_examples:
        test = splits.read_test()
        shown = (test if len(test) else splits.validation).instances
        if isinstance(shown, tuple):
            return Material(texts=shown[:EXAMPLES], every_class=False)
        return Material(pictures=np.asarray(shown[np.arange(min(EXAMPLES, len(shown)))]), every_class=False)
    if not isinstance(recipe.data, Generated):
        return Material(every_class=False)
    texts = recipe.data.synthetic().train.instances
    return Material(texts=texts if isinstance(texts, tuple) else ())


def model_spec(recipe: Recipe, feed: Feed, splits: Splits, model: Any) -> ModelSpec:
    """The recipe's model.json."""
    from training.export.model_export import OPSET, framework_versions

    return ModelSpec(
        name=recipe.name,
        description=recipe.description,
        inputs=feed.inputs,
        outputs=(recipe.task.shape(int(model.output_shape[-1])),),
        preprocessing=feed.preprocessing,
        postprocessing=recipe.task.postprocessing(splits.labels),
        batching=BatchingHints(max_batch_size=recipe.max_batch_size),
        opset=OPSET,
        trained_on=f"{splits.name} ({splits.form})" if splits.form != splits.name else splits.name,
        frameworks=framework_versions(),
    )
