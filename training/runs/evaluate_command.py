"""The command ``training evaluate``."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from training import environment
from training.errors import SettingRefused
from training.overrides import apply_overrides
from training.runs.directories import read_config
from training.runs.session import trained_recipe


def evaluate_run(
    directory: Annotated[
        Path, typer.Argument(help="Directory of a finished run, for example runs/NAME/20261128-154924.")
    ],
) -> None:
    """Measure the model of a run again on its validation set.

    The test set is not used.
    """
    config = read_config(directory)
    recipe = apply_overrides(trained_recipe(config.get("recipe_file") or config["recipe"]), config["overrides"])
    environment.quiet_tensorflow()
    from training.measure.card import HEADINGS
    from training.runs.run import validate

    measured = validate(recipe, config["dataset"], directory=directory)
    if measured is None:
        raise SettingRefused(f"{recipe.name} trains on all of its data and has no validation part")
    document, console = measured.as_json(), Console()
    if per_class := document.get("per_class"):
        table = Table("class", "precision", "recall")
        for label, figures in per_class.items():
            table.add_row(label, f"{figures['precision']:.4f}", f"{figures['recall']:.4f}")
        console.print(table)
    figures = [
        name.format("").strip() + " " + form.format(document[key]) for key, name, form in HEADINGS if key in document
    ]
    console.print(f"validation {', '.join(figures)} on {measured.rows} rows", highlight=False)
