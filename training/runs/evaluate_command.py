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
    from training.measure.card import figures_of, heads_of
    from training.runs.run import validate

    measured = validate(recipe, config["dataset"], directory=directory)
    if measured is None:
        raise SettingRefused(f"{recipe.name} trains on all of its data and has no validation part")
    document, console = measured.as_json(), Console()
    for head, figures in heads_of(document).items():
        kind = "label" if "per_label" in figures else "class"
        table = Table(f"{kind} of {head}" if head else kind, "precision", "recall")
        for label, each in (figures.get("per_label") or figures.get("per_class") or {}).items():
            table.add_row(label, f"{each['precision']:.4f}", f"{each['recall']:.4f}")
        if table.rows:
            console.print(table)
    shown = ", ".join(f"{name} {value}" for name, value in figures_of(document, ""))
    console.print(f"validation {shown} on {measured.rows} rows", highlight=False, soft_wrap=True)
