"""The command ``training robustness``."""

from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from training import environment
from training.datasets.splits import SYNTHETIC
from training.errors import SettingRefused
from training.overrides import apply_overrides
from training.runs.directories import new_directory, published_version, read_metrics
from training.runs.session import Models, Name, Runs, trained_recipe

SIZES = "0,1,2,4,8,16,32"
FILE, PICTURE = "robustness.json", "robustness.png"


def measure_robustness(
    name: Name,
    sizes: Annotated[str, typer.Option(help="Sizes of the changes, of 255, separated by commas.")] = SIZES,
    rows: Annotated[int, typer.Option(min=1, help="Most validation images.")] = 2000,
    number: Annotated[
        int | None, typer.Option("--version", help="Number of the version [default: the newest].", show_default=False)
    ] = None,
    run_id: Annotated[str | None, typer.Option(help="Name of the run's directory; default: date and time.")] = None,
    models: Models = Path("models"),
    runs: Runs = Path("runs"),
) -> None:
    """Measure a published classifier of images on validation images that are changed a little.

    Each pixel is changed by a few levels: against the gradient of the network (adversarial examples), by random signs
    of the same size, and by normal noise. The test set is not used; a curve is written to runs/NAME/.
    """
    levels = _levels(sizes)
    recipe = trained_recipe(name)
    version = published_version(models, recipe.name, number)
    metrics = read_metrics(version)
    if "settings" not in metrics:
        raise SettingRefused(f"{version} was not trained here but imported; its network cannot be built again")
    recipe = apply_overrides(recipe, metrics["overrides"])
    environment.quiet_tensorflow()
    from training.recipe.recipe_data import read_recipe_data
    from training.retraining.start import published_network
    from training.robustness.curves import accuracy_curves, draw_curves
    from training.runs.record import write_json

    splits = read_recipe_data(recipe, synthetic=metrics["dataset"]["form"] == SYNTHETIC)
    feed = recipe.pipeline.bind(splits.train, classes=splits.classes)
    images = splits.validation.instances
    if not isinstance(images, np.ndarray) or images.dtype != np.uint8 or not splits.labels:
        raise SettingRefused(f"{recipe.name} is not a classifier of images in memory; robustness is measured for those")
    if not len(images):
        raise SettingRefused(f"{recipe.name} has no validation part to measure on")
    model = published_network(recipe, feed, splits, version).finished
    examples = splits.validation.take(np.arange(min(rows, len(images))))
    curves = accuracy_curves(model, examples, levels)
    directory, console = new_directory(runs, recipe.name, run_id), Console()
    directory.mkdir(parents=True, exist_ok=True)
    table = Table("size, of 255", *curves)
    for place, size in enumerate(levels):
        table.add_row(str(size), *(f"{accuracies[place]:.4f}" for accuracies in curves.values()))
    console.print(table)
    draw_curves(curves, levels, directory / PICTURE)
    record = {
        "recipe": recipe.name,
        "version": version.name,
        "command": environment.command(),
        "rows": len(examples),
        "sizes": levels,
        "accuracy": curves,
    }
    write_json(directory / FILE, record)
    console.print(f"picture: {directory / PICTURE}", highlight=False, soft_wrap=True)


def _levels(sizes: str) -> list[int]:
    """The sizes in ascending order.

    Raises:
        SettingRefused: one is not a whole number from 0 to 255.
    """
    found = []
    for size in sizes.split(","):
        if not size.strip().isdecimal() or not 0 <= int(size) <= 255:
            raise SettingRefused(f"--sizes: {size.strip()!r} is not a whole number from 0 to 255")
        found.append(int(size))
    return sorted(set(found))
