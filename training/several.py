"""Commands that train several times: reproduce what is published, compare optimisers, run every recipe."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from training import environment
from training.errors import SettingRefused, TrainingError
from training.lesson import Lesson
from training.overrides import apply_overrides
from training.recipe import load_recipe, recipe_names
from training.rundirs import new_directory, read_metrics
from training.session import Dataset, Models, Name, Runs, latest_version, train, trained_recipe, work

TOLERANCE = 0.005
"""Published and reproduced test accuracy may differ by half a point."""


def reproduce(
    names: Annotated[list[str] | None, typer.Argument(help="Which models; default: all that are published.")] = None,
    models: Models = Path("models"),
    runs: Runs = Path("runs"),
) -> None:
    """Train published models again, into runs/ only, and compare their test accuracy with the published one.

    Exit code 1 when one differs by more than half a point.
    """
    console = Console()
    table = Table("model", "version", "published", "reproduced", "difference", "minutes")
    agree = True
    for name in names or [name for name in recipe_names() if latest_version(models, name)]:
        version = latest_version(models, name)
        if version is None:
            raise SettingRefused(f"no version of {name} is published under {models}")
        recipe, metrics = load_recipe(name), read_metrics(version)
        if isinstance(recipe, Lesson):
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
        assert outcome.test is not None  # force tests
        before, after = metrics["test"]["accuracy"], outcome.test.as_json()["accuracy"]
        agree = agree and abs(after - before) <= TOLERANCE
        minutes = outcome.metrics["seconds"]["training"] / 60
        table.add_row(name, version.name, f"{before:.4f}", f"{after:.4f}", f"{after - before:+.4f}", f"{minutes:.1f}")
    if not table.rows:
        raise SettingRefused(f"no recipe has a published version under {models}")
    console.print(table)
    if not agree:
        raise typer.Exit(1)


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
        Dataset, typer.Option(help="Train on the real data set, or on drawings and sentences of our own.")
    ] = Dataset.REAL,
    run_id: Annotated[str | None, typer.Option(help="Name of the run's directory; default: date and time.")] = None,
    runs: Runs = Path("runs"),
) -> None:
    """Train one model with several optimisers and draw their loss curves side by side, in runs/NAME/.../compare.png.

    Same seed, same batches, same start; nothing is tested or published.
    """
    shared = [*(assignments or []), *([f"fitting.epochs={epochs}"] if epochs else [])]
    recipe = apply_overrides(trained_recipe(name), shared)
    contestants = {}
    for choice in optimizers.split(","):
        optimizer, _, rate = choice.strip().partition(":")
        settings = [f"optimizer.name={optimizer}", *([f"optimizer.learning_rate={rate}"] if rate else [])]
        if choice.strip() in contestants:
            raise SettingRefused(f"--optimizers names {choice.strip()!r} twice")
        contestants[choice.strip()] = apply_overrides(recipe, settings)
    directory = new_directory(runs, name, run_id)
    environment.quiet_tensorflow()
    from training.compare import compare

    console = Console()
    table = Table("optimizer", "learning rate", "training loss", "validation loss", "validation accuracy", "seconds")
    for curve in compare(contestants, dataset.value, directory=directory, console=console):
        last = curve.history[-1] if curve.history else {}
        figures = (f"{last[key]:.4g}" if key in last else "" for key in ("loss", "val_loss", "val_accuracy"))
        rate = f"{contestants[curve.name].optimizer.learning_rate:g}"
        table.add_row(curve.name, rate, *figures, curve.diverged or f"{curve.seconds:.1f}")
    console.print(table)
    console.print(f"picture: {directory / 'compare.png'}", highlight=False)


def run_all(
    dataset: Annotated[
        Dataset, typer.Option(help="Train on the real data sets, or on drawings and sentences of our own.")
    ] = Dataset.REAL,
    models: Models = Path("models"),
    runs: Runs = Path("runs"),
) -> None:
    """Run every recipe that has no published version, into runs/ only; one that fails does not stop the others.

    Exit code 1 when a figure is not what it should be, or a recipe failed.
    """
    console, table, well = Console(), Table("recipe", "result", "minutes", "figures as wanted"), True
    for name in recipe_names():
        if latest_version(models, name):
            continue
        directory = new_directory(runs, name, None)
        try:
            recipe = load_recipe(name)
            if isinstance(recipe, Lesson):
                worked = work(recipe, (), directory, console, command=environment.command())
                findings, headline = worked.findings, "worked through"
                minutes = read_metrics(directory)["seconds"]["training"] / 60
            else:
                asked = {"command": environment.command(), "dataset": dataset.value, "test": True}
                outcome = train(recipe, (), directory, console, **asked)
                findings, measured = outcome.findings, outcome.test or outcome.validation
                part = "test" if outcome.test else "validation"
                headline = f"{part} {measured.headline}" if measured else "trained"
                minutes = outcome.metrics["seconds"]["training"] / 60
        except TrainingError as error:
            table.add_row(name, f"[red]failed:[/] {error}", "", "")
            well = False
            continue
        well = well and not findings.missed
        checked = [figure for figure in findings.figures if figure.holds is not None]
        agreeing = f"{len(checked) - len(findings.missed)} of {len(checked)}" if checked else ""
        table.add_row(name, headline, f"{minutes:.1f}", agreeing)
    console.print(table)
    if not well:
        raise typer.Exit(1)
