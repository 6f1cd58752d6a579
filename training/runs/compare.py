"""Trains one recipe in several ways and draws the loss curves in one picture."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from training.datasets.splits import SYNTHETIC
from training.errors import TrainingDiverged
from training.fit.fit import fit
from training.fit.run_files import Progressed
from training.measure.drawing import save
from training.recipe.recipe import Recipe
from training.recipe.recipe_data import read_recipe_data
from training.report.pictures import draw_curves

PICTURE = "compare.png"


@dataclass(frozen=True, kw_only=True)
class Curve:
    """The result of one way of training.

    Attributes:
        history: one row per epoch.
        seconds: of all epochs.
        diverged: why it ended early; empty if it did not.
    """

    name: str
    history: list[dict[str, float]]
    seconds: float
    diverged: str = ""


def compare(recipes: Mapping[str, Recipe], dataset: str, *, directory: Path, console: Console) -> Iterator[Curve]:
    """Train each recipe on the same data, in a subdirectory of its name; draw when all are done.

    Args:
        recipes: name -> the recipe with its optimiser.
        dataset: ``real`` or ``synthetic``.
        directory: of the comparison; gets compare.png.
        console: progress.

    Yields:
        One curve for each. A training that diverges also gives a curve: it shows the effect of that learning rate.
    """
    curves = []
    some = next(iter(recipes.values()))
    splits = read_recipe_data(some, synthetic=dataset == SYNTHETIC)
    feed = some.pipeline.bind(splits.train, classes=splits.classes)
    for name, recipe in recipes.items():
        console.print(f"[bold]{name}[/]", highlight=False)
        place = directory / name.replace(":", "-")
        place.mkdir(parents=True, exist_ok=True)
        diverged = ""
        try:
            fit(recipe, feed, splits, directory=place, console=console)
        except TrainingDiverged as error:
            diverged = "diverged"
            console.print(f"{name}: {error}", highlight=False)
        progressed = Progressed.read(place)
        curve = Curve(name=name, history=progressed.history, seconds=progressed.seconds, diverged=diverged)
        curves.append(curve)
        yield curve
    save(draw_curves({curve.name: curve.history for curve in curves}, only="loss"), directory / PICTURE)
