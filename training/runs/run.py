"""One run, from data to a published version; it writes to one directory, except for the version.

Read ``run`` first: it contains all steps. The test set is read at the end, once, and only if the validation set shows
that the target is within reach.
"""

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MappingProxyType
from typing import Any

from rich.console import Console

from training.data.pipelines import Feed
from training.datasets.splits import SYNTHETIC, Examples, Names, Splits
from training.disk import replaced, space_wanted
from training.fit.calibrate import Calibrated, calibrate
from training.fit.distribution import ALONE, Distribution
from training.fit.fit import fit, trained_model
from training.fit.train_network import AfterEpoch, Trained, nothing
from training.fit.training_settings import batch_size_for
from training.measure.card import model_card
from training.measure.card_head import modality
from training.measure.evaluate import Evaluation, predict
from training.measure.findings import Findings
from training.measure.predictions import TEST_FILE as TEST_PREDICTIONS_FILE
from training.measure.predictions import VALIDATION_FILE, Predictions, write_predictions
from training.measure.tasks import Array, Classify, Measured, PredictNextToken
from training.recipe.recipe import Recipe, Subject
from training.recipe.recipe_data import read_recipe_data
from training.report.mistakes import worst_mistakes
from training.runs.directories import BASELINE_FILE, CARD_FILE, CONFIG_FILE, METRICS_FILE, TEST_FILE
from training.runs.gate import exceeded, may_test
from training.runs.publishing import baseline_of, check_formats, publish_trained
from training.runs.record import Phases, Plan, config_document, metrics_document, write_json
from training.runs.reporting import MISTAKES_FILE, PICTURES, report_run


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
    recipe: Recipe,
    plan: Plan,
    *,
    directory: Path,
    console: Console,
    distribution: Distribution = ALONE,
    after_epoch: AfterEpoch = nothing,
) -> Outcome:
    """Train, select on validation, test if allowed, report, publish if requested.

    Args:
        recipe: with the overrides applied.
        plan: what to do.
        directory: of the run; an interrupted or untested run in it continues where it stopped.
        console: progress and results.
        distribution: where the network trains; this process is its chief.
        after_epoch: called after every epoch, see ``fit``.

    Raises:
        TrainingError: and its subclasses; one sentence each.
    """
    phases = Phases()
    with phases.phase("data"):
        splits = read_recipe_data(recipe, synthetic=plan.dataset == SYNTHETIC)
    with phases.phase("preparation"):
        feed = recipe.pipeline.bind(splits.train, classes=splits.classes)
        check_formats(recipe, feed, splits)
    batch_size_for(recipe.fitting, feed.rows(splits.train))
    directory.mkdir(parents=True, exist_ok=True)  # only now: a mistake in the data or its settings leaves no run behind
    console.print(f"[bold]{recipe.name}[/] writes to {directory}", highlight=False)
    write_json(directory / CONFIG_FILE, config_document(recipe, plan))
    console.print(splits.described, highlight=False)
    trained = fit(
        recipe,
        feed,
        splits,
        directory=directory,
        console=console,
        after_epoch=after_epoch,
        distribution=distribution,
        tensorboard=plan.tensorboard,
    )
    phases.seconds["training"] = round(trained.seconds, 2)
    return conclude(recipe, plan, splits, feed, trained, phases, directory=directory, console=console)


def conclude(
    recipe: Recipe,
    plan: Plan,
    splits: Splits,
    feed: Feed,
    trained: Trained,
    phases: Phases,
    *,
    directory: Path,
    console: Console,
    refusal: str = "",
    record: Mapping[str, Any] = MappingProxyType({}),
) -> Outcome:
    """Everything after the training: select on validation, test if allowed, report, publish if requested.

    Args:
        recipe, plan, directory, console: see ``run``.
        splits: the data; the train part is what the model was trained on.
        feed: of the model.
        trained: the model.
        phases: seconds so far; grows.
        refusal: why the model must be neither tested nor published; empty if it may.
        record: further members of metrics.json.

    Raises:
        TrainingError: and its subclasses; one sentence each.
    """
    with phases.phase("validation"):
        calibrated, validation = _calibrated(recipe, trained.model, feed, splits, directory)
        model = calibrated.model
    if isinstance(recipe.task, Classify):
        console.print(calibrated.sentence, highlight=False, soft_wrap=True)
    for sentence in exceeded(recipe, trained):
        console.print(sentence, highlight=False)
    allowed, gate = (False, refusal) if refusal else may_test(recipe, validation, plan)
    test = None
    if plan.test or plan.repository:
        with phases.phase("test"):
            test = _test_once(recipe, model, feed, splits, directory) if allowed else None
        gate += "; there is no test part" if allowed and not test else ""
    with phases.phase("study"):
        findings = recipe.study(
            Subject(
                recipe=recipe,
                splits=splits,
                feed=feed,
                model=model,
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
        baseline = baseline_of(recipe, model, feed, splits)
    metrics = metrics_document(
        recipe, plan, splits, trained, calibrated, validation, test, findings, gate, phases.seconds
    )
    metrics |= {"run": f"{directory.parent.name}/{directory.name}", "modality": modality(feed), **record}
    own = {**metrics, PICTURES: {title: path.name for title, path in findings.pictures.items()}}
    write_json(directory / METRICS_FILE, own)
    write_json(directory / BASELINE_FILE, baseline)
    card = partial(model_card, recipe.name, recipe.description)
    with replaced(directory / CARD_FILE) as path:
        path.write_text(card(metrics), encoding="utf-8")
    version = None
    try:
        if plan.repository and allowed and findings.missed and not plan.force:
            console.print(f"not published: {findings.complaint}; --force publishes anyway", highlight=False)
        elif plan.repository and allowed:
            with space_wanted(
                "the version", f"nothing was published: free some space for {plan.repository}, and add --resume"
            ):
                version = publish_trained(recipe, feed, splits, model, metrics, baseline, card, plan.repository)
            write_json(directory / METRICS_FILE, {**own, "published": f"{version.parent.name}/{version.name}"})
    except BaseException:
        with suppress(OSError):
            report_run(directory, models=None)
        raise
    report_run(directory, models=plan.repository if version else None)
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
    splits = read_recipe_data(recipe, synthetic=dataset == SYNTHETIC)
    feed = recipe.pipeline.bind(splits.train, classes=splits.classes)
    with TemporaryDirectory(prefix="atelier-worker-") as folder:
        fit(recipe, feed, splits, directory=Path(folder), console=Console(quiet=True), distribution=distribution)


def validate(recipe: Recipe, dataset: str, *, directory: Path) -> Measured | None:
    """Measure the kept weights of a run on its validation set; None if that is empty.

    Raises:
        RunNotFound: the run has no weights yet.
    """
    splits = read_recipe_data(recipe, synthetic=dataset == SYNTHETIC)
    feed = recipe.pipeline.bind(splits.train, classes=splits.classes)
    model = trained_model(recipe, feed, splits, directory=directory)
    return _calibrated(recipe, model, feed, splits, directory)[1]


def _calibrated(
    recipe: Recipe, model: Any, feed: Feed, splits: Splits, directory: Path
) -> tuple[Calibrated, Measured | None]:
    """The model to measure and to publish, and its figures on the validation part; None if that is empty."""
    calibrated = calibrate(recipe, model, feed, splits)
    path = directory / VALIDATION_FILE
    measured = _measured(recipe, calibrated.answers, feed, splits.validation, splits.names, path)
    if isinstance(measured, Evaluation) and calibrated.answers is not None:
        predictions = Predictions(answers=calibrated.answers, truth=feed.truth(splits.validation))
        mistakes = worst_mistakes(splits.validation, predictions, labels=splits.labels)
        write_json(directory / MISTAKES_FILE, mistakes)
    return replace(calibrated, answers=None), measured  # the answers of a language model take gigabytes


def _measured(
    recipe: Recipe, answers: Array | None, feed: Feed, examples: Examples, names: Names, path: Path
) -> Measured | None:
    """Figures of ``answers`` to ``examples``, which are kept in ``path`` for the report; None without examples."""
    if answers is None:
        return None
    truth = feed.truth(examples)
    if not isinstance(recipe.task, PredictNextToken):  # a number for each token of the vocabulary, in every row
        write_predictions(path, answers, truth)
    return recipe.task.measure(answers, truth, names=names)


def _test_once(recipe: Recipe, model: Any, feed: Feed, splits: Splits, directory: Path) -> Measured | None:
    """Measure on the test set; a run that already did so returns that result. None if the set has no test part."""
    path = directory / TEST_FILE
    if path.is_file():
        return recipe.task.restore(json.loads(path.read_text(encoding="utf-8")))
    examples = splits.read_test()
    answers = predict(model, feed, examples, batch_size=recipe.fitting.evaluation_batch_size) if len(examples) else None
    test = _measured(recipe, answers, feed, examples, splits.names, directory / TEST_PREDICTIONS_FILE)
    if test:
        write_json(path, test.as_json())
    return test
