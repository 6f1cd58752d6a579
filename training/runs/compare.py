"""Trains one recipe in several ways and draws the loss curves in one picture."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from training.data.reading import read_data
from training.datasets.splits import SYNTHETIC
from training.errors import TrainingDiverged
from training.fit.fit import fit
from training.fit.run_files import Progressed
from training.measure.drawing import figure, save
from training.recipe.recipe import Recipe

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
    splits = read_data(some.data, some.pipeline, synthetic=dataset == SYNTHETIC)
    feed = some.pipeline.bind(splits.train, classes=len(splits.labels))
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
    _draw(curves, directory / PICTURE)


def _draw(curves: list[Curve], path: Path) -> None:
    columns: dict[str, str] = {"loss": "training loss", "val_loss": "validation loss"}
    shown = {
        column: title for column, title in columns.items() if any(column in row for c in curves for row in c.history)
    }
    drawn = figure(width=4.8 * max(1, len(shown)))
    panes: Any = drawn.subplots(1, max(1, len(shown)), squeeze=False)[0]
    for axes, (column, title) in zip(panes, shown.items(), strict=False):
        for curve in curves:
            points = [(row["epoch"], row[column]) for row in curve.history if column in row]
            axes.plot([epoch for epoch, _ in points], [loss for _, loss in points], marker=".", label=curve.name)
        axes.set(xlabel="epoch", title=title)
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(alpha=0.3)
        axes.legend()
    save(drawn, path)
