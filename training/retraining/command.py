"""The command ``training retrain``. Imports no TensorFlow."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from training import environment
from training.datasets.splits import SYNTHETIC
from training.disk import space_wanted
from training.errors import DataMissing, SettingRefused
from training.overrides import apply_overrides
from training.retraining.comparison import MARGIN
from training.retraining.mixing import SHARE_OLD
from training.runs.catalogue import recipe_file
from training.runs.directories import new_directory, published_version, read_metrics
from training.runs.session import (
    INTERRUPTED,
    Dataset,
    Models,
    Name,
    Runs,
    print_outcome,
    trained_recipe,
)

NOT_BETTER = 3
"""Exit code if the retrained network does not replace the published version."""


def retrain_model(
    name: Name,
    data: Annotated[
        Path,
        typer.Option(
            help="New rows: folder of class folders, CSV or Parquet file, or an export of `python -m app recordings`.",
            show_default=False,
        ),
    ],
    models: Models = Path("models"),
    from_version: Annotated[
        int | None, typer.Option(min=0, help="Version to start from [default: the newest].", show_default=False)
    ] = None,
    margin: Annotated[
        float,
        typer.Option(
            min=0, help="How much worse it may be on the old validation rows: accuracy, or a share of an error."
        ),
    ] = MARGIN,
    share_old: Annotated[float, typer.Option(help="Share of old rows among those that are trained on.")] = SHARE_OLD,
    epochs: Annotated[
        int | None, typer.Option(min=1, help="Number of epochs [default: that of the recipe].", show_default=False)
    ] = None,
    assignments: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="PATH=VALUE", help="Change one setting of this training; may be repeated."),
    ] = None,
    publish: Annotated[
        bool, typer.Option("--publish", help="If it is better, measure on the test set and add the next version.")
    ] = False,
    run_id: Annotated[
        str | None, typer.Option(help="Name of the directory of the run [default: date and time].")
    ] = None,
    runs: Runs = Path("runs"),
) -> None:
    """Train a published version again, with new rows and old ones.

    It starts from the published weights. The result must be better on new rows that were held out, and not worse on the
    old validation rows by more than the margin. Otherwise nothing is published, and the exit code is 3.
    """
    command, console = environment.command(), Console()
    recipe, file = trained_recipe(name), recipe_file(name)
    version = published_version(models, recipe.name, from_version)
    metrics = read_metrics(version)
    if "settings" not in metrics:
        raise SettingRefused(
            f"{version} was not trained here but imported; only versions of `training run` are retrained"
        )
    overrides = tuple(metrics["overrides"])
    changes = (*([f"fitting.epochs={epochs}"] if epochs else []), *(assignments or []))
    asked = apply_overrides(recipe, overrides)
    for change in changes:
        if change.startswith(("data.", "stages.")):
            raise SettingRefused(
                f"--set {change}: the data is split as for {version}, and its stages are not trained again; start a "
                f"new training with `python -m training run {recipe.name}`"
            )
    apply_overrides(asked, changes)  # a mistake in one is found now
    if not data.exists():
        raise DataMissing(
            f"{data} does not exist; --data is a folder of class folders, a CSV or Parquet file, or recordings"
        )
    directory = new_directory(runs, recipe.name, run_id)
    environment.quiet_tensorflow()
    from training.retraining.retrain import Request, retrain
    from training.runs.record import Plan

    console.print(f"[bold]{recipe.name}[/] writes to {directory}", highlight=False)
    request = Request(recipe=asked, version=version, data=data, margin=margin, share_old=share_old, changes=changes)
    synthetic = metrics["dataset"]["form"] == SYNTHETIC
    plan = Plan(
        overrides=overrides,
        dataset=Dataset.SYNTHETIC.value if synthetic else Dataset.REAL.value,
        repository=models if publish else None,
        command=command,
        recipe_file=str(file.resolve()) if file else None,
    )
    try:
        with space_wanted("a file of the retraining", "nothing was published: free some space, and start again"):
            outcome, comparison = retrain(request, plan, directory=directory, console=console)
    except KeyboardInterrupt:
        console.print("interrupted; nothing was published; the same command starts again", soft_wrap=True)
        raise typer.Exit(INTERRUPTED) from None
    print_outcome(outcome, console)
    if not comparison.passed:
        raise typer.Exit(NOT_BETTER)
    if publish and outcome.version is None:
        raise typer.Exit(1)
    if not publish:
        console.print("nothing was published: add --publish", highlight=False)
