"""Command line of training: ``python -m training`` (also installed as ``atelier-training``).

``app.cli`` has the same options of ``Typer``, so that both have the same layout; a test compares them. Importing this
module, ``list`` and ``--help`` do not import TensorFlow.
"""

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from app import __version__
from app.errors import ServingError
from training.baselines.command import compare_baselines
from training.errors import RecipeBroken, TrainingError
from training.importing.command import import_model
from training.new.command import new_recipe
from training.quantizing.command import quantize_model
from training.recipe.lesson import Lesson
from training.retraining.command import retrain_model
from training.robustness.command import measure_robustness
from training.run_command import run_recipe
from training.runs.catalogue import load_recipe, recipe_names
from training.runs.directories import latest_version, read_metrics
from training.runs.evaluate_command import evaluate_run
from training.runs.report_command import report
from training.runs.series import compare_optimizers, reproduce, run_all
from training.runs.session import (
    INTERRUPTED,
    Dataset,
    Models,
)
from training.tuning.command import tune

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"max_content_width": 120},
)


@app.callback(invoke_without_command=True)
def version_flag(
    version: Annotated[bool, typer.Option("--version", help="Show the version and exit.")] = False,
) -> None:
    """Train models, measure them, and publish versions for the service.

    A run writes to runs/NAME/; only --publish adds a version to models/.
    """
    if version:
        Console().print(__version__)
        raise typer.Exit


@app.command("list")
def list_recipes(models: Models = Path("models")) -> None:
    """List the recipes: target and published version."""
    console, broken = Console(), []
    for name in recipe_names():
        try:
            recipe = load_recipe(name)
        except RecipeBroken as error:
            console.print(f"[bold]{name}[/]\n  [red]cannot be read, see below[/]")
            broken.append(str(error))
            continue
        target = None if isinstance(recipe, Lesson) else recipe.targets.test_accuracy
        facts = {
            "does": recipe.description,
            "target": f"accuracy {target:.3f}" if target else "",
            "published": published(models, name),
        }
        table = Table(box=None, show_header=False, padding=(0, 0, 0, 2))
        for key in filter(facts.get, facts):
            table.add_row(key, escape(facts[key]))
        console.print(f"[bold]{name}[/]", table, sep="\n")
    if broken:
        raise RecipeBroken("; ".join(broken))


def published(models: Path, name: str) -> str:
    """The newest published version and its figure on test data, in words."""
    version = latest_version(models, name)
    if version is None:
        return ""
    metrics = read_metrics(version)
    test = metrics.get("test") or {}
    figure = f", perplexity {test['perplexity']:.1f}" if "perplexity" in test else ""
    figure = figure or (f", {test['accuracy']:.4f}" if "accuracy" in test else "")
    synthetic = " (synthetic data)" if metrics.get("dataset", {}).get("form") == Dataset.SYNTHETIC else ""
    return f"version {version.name}{figure}{synthetic}"


app.command("new", short_help="Look at data of your own, and write a recipe.")(new_recipe)


app.command("run")(run_recipe)
app.command("retrain")(retrain_model)
app.command("quantize")(quantize_model)
app.command("evaluate")(evaluate_run)
app.command(short_help="Write a report of a run or a version; compare several.")(report)
app.command(short_help="Search for better settings of a recipe.")(tune)
app.command("import")(import_model)
app.command("baselines", short_help="Compare a classifier with classical methods.")(compare_baselines)
app.command("robustness", short_help="Measure a classifier on changed images.")(measure_robustness)
app.command(short_help="Train published models again and compare the figures.")(reproduce)
app.command("compare", short_help="Train one model with several optimisers.")(compare_optimizers)
app.command("all", short_help="Run every recipe without a published version.")(run_all)


def main() -> None:
    """Run the command line. Exit codes: 0 done, 1 a target or a comparison failed, 2 a mistake, 3 a retrained
    network that is not better."""
    try:
        app()
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in {"tensorflow", "tf_keras"}:
            raise
        Console(stderr=True).print(
            f"[red]error:[/] {error.name} is not installed; run: make train-install", highlight=False
        )
        sys.exit(2)
    except KeyboardInterrupt:
        Console(stderr=True).print("interrupted")
        sys.exit(INTERRUPTED)
    except (TrainingError, ServingError) as error:
        Console(stderr=True).print(f"[red]error:[/] {escape(str(error))}", highlight=False, soft_wrap=True)
        sys.exit(2)
