"""One run of a command: trains or computes, and prints the result. Imports no TensorFlow."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from training import environment
from training.datasets.splits import SYNTHETIC
from training.disk import space_wanted
from training.errors import SettingRefused
from training.fit.distribution import Kind, open_distribution, refuse_together
from training.measure.findings import Findings
from training.overrides import apply_overrides
from training.recipe.lesson import Lesson
from training.recipe.recipe import Recipe
from training.runs.catalogue import load_recipe
from training.runs.directories import latest_version, read_metrics
from training.runs.tracking import tracked, tracking_uri

if TYPE_CHECKING:
    from training.runs.lesson_run import Worked
    from training.runs.run import Outcome


class Dataset(StrEnum):
    """The data set to train on."""

    REAL = "real"
    SYNTHETIC = "synthetic"


Models = Annotated[Path, typer.Option("--models-dir", help="Directory of the published models.")]
Runs = Annotated[Path, typer.Option("--runs", help="Directory that runs are written to.")]
Name = Annotated[
    str, typer.Argument(help="Name of a model from `python -m training list`, or the path of a recipe file.")
]

INTERRUPTED = 130
"""Exit code after Ctrl-C, as in shells."""


def train(
    recipe: Recipe,
    overrides: tuple[str, ...],
    directory: Path,
    console: Console,
    *,
    strategy: Kind = Kind.NONE,
    mlflow: str | None = None,
    **plan: Any,
) -> "Outcome":
    """Train a recipe with overrides and print the result; ``plan`` as in ``training.runs.record.Plan``.

    ``mlflow`` is the address of a server of MLflow that gets a report, or ``env``. A worker of a
    distributed training that is not the chief ends the process when its part is done.
    """
    recipe, uri = apply_overrides(recipe, overrides), tracking_uri(mlflow)
    environment.quiet_tensorflow()
    distribution = open_distribution(strategy, lambda line: console.print(line, highlight=False))
    refuse_together(recipe, distribution)
    from training.runs.record import Plan
    from training.runs.run import run, take_part

    if distribution.index:
        place = f"worker {distribution.index}"
        console.print(f"[bold]{recipe.name}[/]: {place} trains; worker 0 writes all files", highlight=False)
        take_part(recipe, plan.get("dataset", Dataset.REAL), distribution=distribution)
        console.print(f"{place} is done", highlight=False)
        raise typer.Exit
    asked = Plan(overrides=overrides, **plan)
    try:
        with (
            space_wanted(
                "a checkpoint or a log of the run",
                f"{directory} is unchanged since its last checkpoint: free some space, and continue with --resume",
            ),
            tracked(uri, recipe, directory, asked.command, console) as tracking,
        ):
            outcome = run(
                recipe,
                asked,
                directory=directory,
                console=console,
                distribution=distribution,
                after_epoch=tracking.epoch,
            )
            tracking.ended(outcome)
    except KeyboardInterrupt:
        console.print(
            "interrupted; the same command with --resume continues after the last checkpoint, or from the start "
            "if there is none yet",
            soft_wrap=True,
        )
        raise typer.Exit(INTERRUPTED) from None
    print_outcome(outcome, console)
    return outcome


def exit_code(outcome: "Outcome", *, test: bool, force: bool, repository: Path | None) -> int:
    """Of ``run``: 1 if what was asked is refused, or a finding does not agree; the arguments are as in ``Plan``."""
    refused = (test and not outcome.allowed) or (repository is not None and outcome.version is None)
    return int(refused or (bool(outcome.findings.missed) and not force))


def work(lesson: Lesson, overrides: tuple[str, ...], directory: Path, console: Console, **plan: Any) -> "Worked":
    """Compute a lesson and print its findings; ``plan`` as in ``training.runs.record.Plan``."""
    lesson = apply_overrides(lesson, overrides)
    environment.quiet_tensorflow()
    from training.runs.lesson_run import run_lesson
    from training.runs.record import Plan

    console.print(f"[bold]{lesson.name}[/] writes to {directory}", highlight=False)
    with space_wanted("a file of the lesson", "free some space, and run the lesson again"):
        worked = run_lesson(lesson, Plan(overrides=overrides, **plan), directory=directory, console=console)
    print_findings(worked.findings, console)
    console.print(f"report: {directory / 'report.html'}", highlight=False)
    if worked.version:
        console.print(f"published: {worked.version}", highlight=False)
    return worked


def print_outcome(outcome: "Outcome", console: Console) -> None:
    """Print the figures of a trained model."""
    validation, test = outcome.validation, outcome.test
    if validation:
        console.print(f"validation {validation.headline} on {validation.rows} rows", highlight=False)
    console.print(outcome.gate, highlight=False, soft_wrap=True)
    if test:
        console.print(f"test {test.headline} on {test.rows} rows", highlight=False)
    else:
        console.print("the test set was not used" + ("" if outcome.allowed else "; nothing was published"))
    print_findings(outcome.findings, console)
    console.print(f"report: {outcome.directory / 'report.html'}", highlight=False)
    if outcome.version:
        console.print(f"published: {outcome.version}", highlight=False)


def print_findings(findings: Findings, console: Console) -> None:
    """Print findings with their expected values."""
    if not findings.figures:
        return
    table = Table("figure", "measured", "expected", "")
    signs = {True: "[green]agrees[/]", False: "[red]does NOT agree[/]", None: ""}
    for figure in findings.figures:
        table.add_row(figure.name, figure.shown, figure.wanted, signs[figure.holds])
    console.print(table)
    for note in findings.notes:
        console.print(note, highlight=False, markup=False)


def keep_real_version(models: Path, name: str) -> None:
    """Refuse to publish a model of synthetic data after one of real data."""
    version = latest_version(models, name)
    if version and read_metrics(version).get("dataset", {}).get("form") != SYNTHETIC:
        raise SettingRefused(
            f"{version} was trained on real data and would no longer be the newest version; to publish a model of "
            "synthetic data anyway add --force, or choose another directory with --models-dir"
        )


def trained_recipe(name: str) -> Recipe:
    """A recipe that trains on data; raises for a lesson."""
    recipe = load_recipe(name)
    if isinstance(recipe, Lesson):
        raise SettingRefused(f"{name} is a lesson, which can only be run; use `python -m training run {name}`")
    return recipe
