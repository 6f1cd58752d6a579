"""Command line of training: ``python -m training list | run | evaluate | reproduce``.

Importing this module, ``list`` and ``--help`` do not import TensorFlow.
"""

import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from app.errors import ServingError
from training import environment
from training.errors import SettingRefused, TrainingError
from training.overrides import apply_overrides
from training.recipe import load_recipe, recipe_names
from training.rundirs import new_directory, read_config, read_metrics, unfinished_directory

if TYPE_CHECKING:
    from training.run import Outcome

TOLERANCE = 0.005
"""Published and reproduced test accuracy may differ by half a point."""

INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells have it."""

app = typer.Typer(
    name="training",
    help="Train the models that Atelier serves, measure them, and publish new versions under models/.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


class Dataset(StrEnum):
    """What to train on."""

    REAL = "real"
    SYNTHETIC = "synthetic"


Models = Annotated[Path, typer.Option("--models", help="Directory of the published models.")]
Runs = Annotated[Path, typer.Option("--runs", help="Directory that runs are written to.")]
Name = Annotated[str, typer.Argument(help="Which model: a name from `python -m training list`.")]


@app.command("list")
def list_recipes(models: Models = Path("models")) -> None:
    """Show the recipes there are, what each must reach, and what is published."""
    table = Table("recipe", "what it does", "target", "published")
    for name in recipe_names():
        recipe = load_recipe(name)
        version = latest_version(models, name)
        published = "-"
        if version:
            test = read_metrics(version).get("test") or {}
            published = f"version {version.name}, {test.get('accuracy', float('nan')):.4f}"
        table.add_row(name, recipe.description, f"{recipe.targets.test_accuracy:.3f}", published)
    Console().print(table)


@app.command("run")
def run_recipe(
    name: Name,
    assignments: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="PATH=VALUE",
            help="Change one setting of the recipe, e.g. optimizer.learning_rate=0.01. May be repeated.",
        ),
    ] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="Short for --set fitting.epochs=N.")] = None,
    dataset: Annotated[
        Dataset, typer.Option(help="Train on the real data set, or on drawings of our own.")
    ] = Dataset.REAL,
    test: Annotated[bool, typer.Option("--test", help="Measure on the test set at the end.")] = False,
    publish: Annotated[
        bool, typer.Option("--publish", help="Measure on the test set, then add the next version under --models.")
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Test and publish although validation is below the target; recorded.")
    ] = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the newest run that was interrupted, or not yet published.")
    ] = False,
    run_id: Annotated[str | None, typer.Option(help="Name of the run's directory; default: date and time.")] = None,
    models: Models = Path("models"),
    runs: Runs = Path("runs"),
) -> None:
    """Train one model. Everything is written under runs/NAME/; --publish adds a version under models/.

    The test set is used once, at the end, and only when validation accuracy reaches the target and half a point.
    """
    command = environment.command()
    overrides = [*(assignments or []), *([f"fitting.epochs={epochs}"] if epochs else [])]
    kind = dataset.value
    if resume:
        directory = unfinished_directory(runs, name, run_id)
        config = read_config(directory)
        if overrides and overrides != config["overrides"]:
            raise SettingRefused(
                f"{directory} was started with {config['overrides']}; --resume takes no other settings"
            )
        overrides, kind = config["overrides"], config["dataset"]
        command = f"{config['command']} && {command}"
    else:
        load_recipe(name)
        directory = new_directory(runs, name, run_id)
    outcome = _train(
        name,
        tuple(overrides),
        directory,
        Console(),
        command=command,
        dataset=kind,
        test=test,
        force=force,
        repository=models if publish else None,
    )
    if (test or publish) and outcome.test is None:
        raise typer.Exit(1)


def _train(name: str, overrides: tuple[str, ...], directory: Path, console: Console, **plan: Any) -> "Outcome":
    recipe = apply_overrides(load_recipe(name), overrides)
    environment.quiet_tensorflow()
    from training.record import Plan
    from training.run import run

    console.print(f"[bold]{name}[/] in {directory}", highlight=False)
    asked = Plan(overrides=overrides, **plan)
    try:
        outcome = run(recipe, asked, directory=directory, console=console)
    except KeyboardInterrupt:
        console.print("interrupted; the same command with --resume goes on after the last whole epoch")
        raise typer.Exit(INTERRUPTED) from None
    _print_outcome(outcome, console)
    return outcome


def _print_outcome(outcome: "Outcome", console: Console) -> None:
    validation, test = outcome.validation, outcome.test
    console.print(f"validation accuracy {validation.accuracy:.4f} on {validation.rows} rows", highlight=False)
    console.print(outcome.gate, highlight=False)
    if test:
        console.print(f"test accuracy {test.accuracy:.4f} on {test.rows} rows", highlight=False)
    else:
        console.print("the test set was not touched")
    console.print(f"report: {outcome.directory / 'report.html'}", highlight=False)
    if outcome.version:
        console.print(f"published: {outcome.version}", highlight=False)


@app.command("evaluate")
def evaluate_run(
    directory: Annotated[Path, typer.Argument(help="Directory of a finished run, e.g. runs/fashion-mnist-mlp/1.")],
) -> None:
    """Measure a run's model on its validation set again. The test set is left alone."""
    config = read_config(directory)
    recipe = apply_overrides(load_recipe(config["recipe"]), config["overrides"])
    environment.quiet_tensorflow()
    from training.run import validate

    evaluation = validate(recipe, config["dataset"], directory=directory)
    table = Table("class", "precision", "recall")
    for label, precision, recall in zip(evaluation.labels, evaluation.precision, evaluation.recall, strict=True):
        table.add_row(label, f"{precision:.4f}", f"{recall:.4f}")
    console = Console()
    console.print(table)
    console.print(
        f"validation accuracy {evaluation.accuracy:.4f} on {evaluation.rows} rows, log loss {evaluation.log_loss:.4f}, "
        f"calibration error {evaluation.calibration_error:.4f}",
        highlight=False,
    )


@app.command()
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
        metrics = read_metrics(version)
        synthetic = metrics["dataset"]["form"] == Dataset.SYNTHETIC
        outcome = _train(
            name,
            tuple(metrics["overrides"]),
            new_directory(runs, name, None),
            console,
            command=environment.command(),
            dataset=Dataset.SYNTHETIC.value if synthetic else Dataset.REAL.value,
            test=True,
            force=True,
        )
        assert outcome.test is not None  # force tests
        published, reproduced = metrics["test"]["accuracy"], outcome.test.accuracy
        agree = agree and abs(reproduced - published) <= TOLERANCE
        minutes = outcome.metrics["seconds"]["training"] / 60
        table.add_row(
            name,
            version.name,
            f"{published:.4f}",
            f"{reproduced:.4f}",
            f"{reproduced - published:+.4f}",
            f"{minutes:.1f}",
        )
    if not table.rows:
        raise SettingRefused(f"no recipe has a published version under {models}")
    console.print(table)
    if not agree:
        raise typer.Exit(1)


def latest_version(models: Path, name: str) -> Path | None:
    """Directory of the highest published version of a model; None when there is none."""
    versions = [path for path in (models / name).glob("*") if path.name.isdecimal() and path.is_dir()]
    return max(versions, key=lambda path: int(path.name), default=None)


def main() -> None:
    """Run the command line: 0 done, 1 a target or a comparison failed, 2 one sentence says what was wrong."""
    try:
        app()
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in {"tensorflow", "tf_keras"}:
            raise
        Console(stderr=True).print(
            f"[red]error:[/] {error.name} is not installed; run: make train-install", highlight=False
        )
        sys.exit(2)
    except (TrainingError, ServingError) as error:
        Console(stderr=True).print(f"[red]error:[/] {error}", highlight=False, soft_wrap=True)
        sys.exit(2)
