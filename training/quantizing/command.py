"""The command ``training quantize``. Imports no TensorFlow."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.console import Console
from rich.table import Table

from training import environment
from training.datasets.splits import SYNTHETIC
from training.disk import space_wanted
from training.errors import SettingRefused
from training.measure.decisive import name_of, shown
from training.overrides import apply_overrides
from training.quantizing.labels import check_label, set_label
from training.runs.directories import published_version, read_metrics
from training.runs.session import Models, Name, trained_recipe

if TYPE_CHECKING:
    from training.quantizing.records import Quantized

MARGIN = 0.005
CALIBRATION_ROWS = 512


def quantize_model(
    name: Name,
    to: Annotated[Literal["int8", "float16"], typer.Option(help="Numbers inside the graph.", show_default=False)],
    models: Models = Path("models"),
    from_version: Annotated[
        int | None, typer.Option(min=0, help="Version to quantise [default: the newest].", show_default=False)
    ] = None,
    calibration_rows: Annotated[
        int, typer.Option(min=1, help="Training rows from which int8 takes the ranges of its numbers.")
    ] = CALIBRATION_ROWS,
    margin: Annotated[
        float,
        typer.Option(min=0, help="How much worse it may be on the validation rows: accuracy, or a share of an error."),
    ] = MARGIN,
    label: Annotated[
        str | None, typer.Option(help="Label of the new version [default: int8 or float16].", show_default=False)
    ] = None,
) -> None:
    """Publish a smaller form of a published version beside it.

    Both are compared on the validation rows, and the new one is published as the next version, with a label in
    serving.json. Requests without a version still get the published one.
    """
    command, console = environment.command(), Console()
    recipe, label = trained_recipe(name), label or to
    version = published_version(models, recipe.name, from_version)
    metrics = read_metrics(version)
    if "settings" not in metrics:
        raise SettingRefused(f"{version} was not trained here; only versions of `training run` are quantised")
    check_label(version.parent, label)
    recipe = apply_overrides(recipe, tuple(metrics["overrides"]))
    environment.quiet_tensorflow()
    from training.quantizing.quantize import Request, quantize

    request = Request(
        recipe=recipe,
        version=version,
        kind=to,
        calibration_rows=calibration_rows,
        margin=margin,
        synthetic=metrics["dataset"]["form"] == SYNTHETIC,
        command=command,
    )
    with space_wanted("a file of the version", "nothing was published: free some space, and start again"):
        found = quantize(request)
    set_label(version.parent, label, int(found.directory.name))
    _show(console, found)
    if found.holds_default:
        console.print(
            f"version {version.name} has the label stable in {version.parent}/serving.json now: it answers requests "
            "without a version until another one is promoted",
            highlight=False,
            soft_wrap=True,
        )
    console.print(f"published: {found.directory}, label {label}", highlight=False, soft_wrap=True)


def _show(console: Console, found: "Quantized") -> None:
    """Print the figures of both side by side."""
    table = Table("", *found.size_bytes)
    table.add_row(
        f"{name_of(found.before)}, {found.before.rows} validation rows", shown(found.before), shown(found.after)
    )
    if found.same is not None:
        table.add_row("same answers", "", f"{100 * found.same:.2f} %")
    table.add_row("model.onnx, MB", *(f"{size / 1e6:.2f}" for size in found.size_bytes.values()))
    for size in next(iter(found.seconds.values())):
        times = (f"{1e6 * each[size]:.0f}" for each in found.seconds.values())
        table.add_row(f"us a row, {size} in a batch", *times)
    console.print(table)
