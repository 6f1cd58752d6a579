"""The command ``training baselines``."""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from training import environment
from training.errors import SettingRefused
from training.measure.tasks import Classify
from training.overrides import apply_overrides
from training.runs.directories import latest_version, new_directory, read_metrics
from training.runs.session import Dataset, Models, Name, Runs, trained_recipe

FILE = "baselines.json"
ROWS = 10_000


def compare_baselines(
    name: Name,
    rows: Annotated[int, typer.Option(min=2, help="Most training rows that each method learns from.")] = ROWS,
    dataset: Annotated[
        Dataset, typer.Option(help="The real data set, or the project's own drawings and sentences.")
    ] = Dataset.REAL,
    assignments: Annotated[
        list[str] | None, typer.Option("--set", metavar="PATH=VALUE", help="Change a setting of the data.")
    ] = None,
    run_id: Annotated[str | None, typer.Option(help="Name of the run's directory; default: date and time.")] = None,
    models: Models = Path("models"),
    runs: Runs = Path("runs"),
) -> None:
    """Train six classical methods on the data of a classifier and measure them on its validation set.

    The table also has the published version of the network, which learned from all training rows. The test set is not
    used, and nothing is published; the figures are written to runs/NAME/.../baselines.json.
    """
    recipe = apply_overrides(trained_recipe(name), assignments or [])
    if recipe.heads or not isinstance(recipe.task, Classify):
        raise SettingRefused(f"{recipe.name} does not sort rows into classes; baselines are for classifiers")
    environment.quiet_tensorflow()
    from training.baselines.comparison import compare_methods
    from training.recipe.recipe_data import read_recipe_data
    from training.runs.record import write_json

    splits = read_recipe_data(recipe, synthetic=dataset is Dataset.SYNTHETIC)
    if not len(splits.validation):
        raise SettingRefused(f"{recipe.name} has no validation part to measure on, for example because of its settings")
    console, measured = Console(), []
    table = Table("method", "rows", "accuracy", "seconds", "µs a row", "bytes", "note")
    for each in compare_methods(splits, rows=rows):
        measured.append(each)
        console.print(f"{each.method}: {each.accuracy:.4f}", highlight=False)
        figures = (f"{each.rows:,}", f"{each.accuracy:.4f}", f"{each.seconds:.3g}", f"{each.answer_us:.2g}")
        table.add_row(each.method, *figures, f"{each.bytes:,}", each.note)
    network = _published(models, recipe.name, dataset)
    if network:
        figures = (f"{network['rows']:,}", f"{network['accuracy']:.4f}", f"{network['seconds']:.1f}", "")
        table.add_row(f"network, version {network['version']}", *figures, f"{network['bytes']:,}", "all training rows")
    console.print(table)
    record = {
        "recipe": recipe.name,
        "dataset": dataset.value,
        "command": environment.command(),
        "hardware": environment.hardware(),
        "validation_rows": len(splits.validation),
        "methods": [each.as_json() for each in measured],
        "network": network,
    }
    directory = new_directory(runs, recipe.name, run_id)
    directory.mkdir(parents=True, exist_ok=True)
    write_json(directory / FILE, record)
    console.print(f"figures: {directory / FILE}", highlight=False, soft_wrap=True)


def _published(models: Path, name: str, dataset: Dataset) -> dict[str, Any] | None:
    """The newest published version, as its metrics.json has it; None without one on this kind of data."""
    version = latest_version(models, name)
    metrics = read_metrics(version) if version else {}
    if version is None or not metrics.get("validation"):
        return None
    if (metrics["dataset"]["form"] == Dataset.SYNTHETIC) is not (dataset is Dataset.SYNTHETIC):
        return None
    return {
        "version": version.name,
        "rows": metrics["dataset"]["counts"]["train"],
        "accuracy": metrics["validation"]["accuracy"],
        "seconds": metrics["seconds"]["training"],
        "bytes": (version / "model.onnx").stat().st_size,
    }
