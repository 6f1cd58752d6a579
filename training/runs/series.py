"""Commands that train several times: reproduce published models, compare optimisers, run every recipe."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from training import environment
from training.disk import space_wanted
from training.errors import SettingRefused, TrainingError
from training.measure.card import heads_of
from training.overrides import apply_overrides
from training.recipe.lesson import Lesson
from training.runs.catalogue import load_recipe, recipe_names
from training.runs.directories import RETRAINED, latest_version, new_directory, read_metrics
from training.runs.session import Dataset, Models, Name, Runs, train, trained_recipe, work

TOLERANCE = 0.005
"""Largest difference of published and reproduced accuracy: half a point."""
SHARE = 0.05
"""Largest difference of perplexity, or root mean squared error: a twentieth of the published one."""


def reproduce(
    names: Annotated[list[str] | None, typer.Argument(help="Names of models; default: all published models.")] = None,
    models: Models = Path("models"),
    runs: Runs = Path("runs"),
) -> None:
    """Train published models again, and compare their figures with the published ones; writes only to runs/.

    Exit code 1 when an accuracy differs by more than half a point, a perplexity or an error by more than a twentieth,
    or a figure is no longer as expected. Lessons are skipped; use `run` for them.
    """
    console = Console()
    table = Table("model", "version", "figure", "published", "reproduced", "difference", "minutes")
    agree = True
    for name in names or [name for name in recipe_names() if latest_version(models, name)]:
        version = latest_version(models, name)
        if version is None:
            raise SettingRefused(f"no version of {name} is published under {models}")
        recipe, metrics = load_recipe(name), read_metrics(version)
        if RETRAINED in metrics:
            if names:
                raise SettingRefused(
                    f"{version} was retrained from another version, with rows that the recipe does not have; its "
                    "card.md has the command"
                )
            console.print(f"{name} is left out: version {version.name} was retrained", highlight=False)
            continue
        if isinstance(recipe, Lesson):
            if names:
                trained_recipe(name)  # raises for a lesson, which is not trained
            continue
        synthetic = metrics["dataset"]["form"] == Dataset.SYNTHETIC
        outcome = train(
            recipe,
            tuple(metrics["overrides"]),
            new_directory(runs, name, None),
            console,
            command=environment.command(),
            dataset=Dataset.SYNTHETIC.value if synthetic else Dataset.REAL.value,
            test=True,
            force=True,
        )
        minutes = f"{outcome.metrics['seconds']['training'] / 60:.1f}"
        for figure, before, tolerance in telling(metrics):
            [after] = [value for name_again, value, _ in telling(outcome.metrics) if name_again == figure]
            agree = agree and abs(after - before) <= tolerance
            row = (f"{before:.4f}", f"{after:.4f}", f"{after - before:+.4f}")
            table.add_row(name, version.name, figure, *row, minutes)
        missed_before = {finding["name"] for finding in metrics.get("findings", []) if finding["holds"] is False}
        checked = {finding.name for finding in outcome.findings.figures if finding.holds is not None} - missed_before
        if checked:
            held = checked - {finding.name for finding in outcome.findings.missed}
            agree = agree and held == checked
            table.add_row(name, version.name, "as expected", f"{len(checked)}", f"{len(held)}", "", minutes)
    if not table.rows:
        raise SettingRefused(f"no recipe has a published version under {models}")
    console.print(table)
    if not agree:
        raise typer.Exit(1)


def telling(metrics: Mapping[str, Any]) -> list[tuple[str, float, float]]:
    """The main figure of each output of a model: name, value, tolerance; none without a part to measure on.

    Args:
        metrics: metrics.json of a run or version.
    """
    found = []
    for head, figures in heads_of(metrics["test"] or metrics["validation"] or {}).items():
        for name in ("perplexity", "accuracy", "micro_f1", "rmse"):
            if name in figures:
                called = f"{name} of {head}" if head else name
                is_share = name in {"accuracy", "micro_f1"}
                found.append((called, figures[name], TOLERANCE if is_share else SHARE * figures[name]))
                break
    return found


def compare_optimizers(
    name: Name,
    optimizers: Annotated[
        str,
        typer.Option(
            help="Names separated by commas; NAME:RATE gives one its own learning rate, e.g. sgd:0.1,momentum:0.01."
        ),
    ] = "sgd,momentum,nesterov,adagrad,rmsprop,adam",
    assignments: Annotated[
        list[str] | None, typer.Option("--set", metavar="PATH=VALUE", help="Change a setting for all of them.")
    ] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="Short for --set fitting.epochs=N.")] = None,
    dataset: Annotated[
        Dataset, typer.Option(help="Train on the real data set, or on the project's own drawings and sentences.")
    ] = Dataset.REAL,
    run_id: Annotated[str | None, typer.Option(help="Name of the run's directory; default: date and time.")] = None,
    runs: Runs = Path("runs"),
) -> None:
    """Train one model with several optimisers and draw their loss curves in one picture, runs/NAME/.../compare.png.

    All optimisers use the same seed, batches and initial weights. The test set is not used; nothing is published.
    """
    shared = [*(assignments or []), *([f"fitting.epochs={epochs}"] if epochs else [])]
    recipe = apply_overrides(trained_recipe(name), shared)
    name = recipe.name
    contestants = {}
    for choice in optimizers.split(","):
        optimizer, _, rate = choice.strip().partition(":")
        settings = [f"optimizer.name={optimizer}", *([f"optimizer.learning_rate={rate}"] if rate else [])]
        if choice.strip() in contestants:
            raise SettingRefused(f"--optimizers names {choice.strip()!r} twice")
        contestants[choice.strip()] = apply_overrides(recipe, settings)
    directory = new_directory(runs, name, run_id)
    if directory.exists():
        raise SettingRefused(f"{directory} already contains a comparison; choose another --run-id")
    environment.quiet_tensorflow()
    from training.runs.compare import compare

    console = Console()
    table = Table("optimizer", "learning rate", "training loss", "validation loss", "validation accuracy", "seconds")
    validated = False
    with space_wanted("a file of the comparison", f"free some space, remove {directory}, and compare again"):
        for curve in compare(contestants, dataset.value, directory=directory, console=console):
            last = curve.history[-1] if curve.history else {}
            figures = (f"{last[key]:.4g}" if key in last else "" for key in ("loss", "val_loss", "val_accuracy"))
            validated = validated or "val_loss" in last
            rate = f"{contestants[curve.name].optimizer.learning_rate:g}"
            table.add_row(curve.name, rate, *figures, curve.diverged or f"{curve.seconds:.1f}")
    console.print(table)
    if not validated:
        console.print(f"{name} has no validation part: only the training loss is compared", highlight=False)
    console.print(f"picture: {directory / 'compare.png'}", highlight=False)


def run_all(
    dataset: Annotated[
        Dataset, typer.Option(help="Train on the real data sets, or on the project's own drawings and sentences.")
    ] = Dataset.REAL,
    models: Models = Path("models"),
    runs: Runs = Path("runs"),
) -> None:
    """Run every recipe without a published version; one that fails does not stop the others. Writes only to runs/.

    Exit code 1 when a figure is not as expected, or a recipe failed.
    """
    console, table, well = Console(), Table("recipe", "result", "minutes", "figures as expected"), True
    for name in recipe_names():
        if latest_version(models, name):
            continue
        try:
            directory, recipe = new_directory(runs, name, None), load_recipe(name)
            if isinstance(recipe, Lesson):
                worked = work(recipe, (), directory, console, command=environment.command())
                findings, headline = worked.findings, "computed"
                minutes = read_metrics(directory)["seconds"]["training"] / 60
            else:
                outcome = train(
                    recipe, (), directory, console, command=environment.command(), dataset=dataset.value, test=True
                )
                findings, measured = outcome.findings, outcome.test or outcome.validation
                part = "test" if outcome.test else "validation"
                headline = f"{part} {measured.headline}" if measured else "trained"
                minutes = outcome.metrics["seconds"]["training"] / 60
        except typer.Exit:  # Ctrl-C
            raise
        except Exception as error:  # noqa: BLE001  (a fault in one recipe is shown, and the next one runs)
            if not isinstance(error, TrainingError):
                console.print_exception()
            kind = "" if isinstance(error, TrainingError) else f"{type(error).__name__}: "
            table.add_row(name, f"[red]failed:[/] {kind}{escape(str(error))}", "", "")
            well = False
            continue
        well = well and not findings.missed
        checked = [figure for figure in findings.figures if figure.holds is not None]
        agreeing = f"{len(checked) - len(findings.missed)} of {len(checked)}" if checked else ""
        table.add_row(name, headline, f"{minutes:.1f}", agreeing)
    console.print(table)
    if not well:
        raise typer.Exit(1)
