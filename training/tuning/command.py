"""``training tune``: search for better settings of a recipe. Imports neither TensorFlow nor Optuna."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from training import environment
from training.datasets.splits import SYNTHETIC
from training.disk import space_wanted
from training.errors import TrainingDiverged
from training.overrides import apply_overrides, as_text, settings
from training.runs.session import INTERRUPTED, Dataset, Name, Runs, trained_recipe
from training.tuning.space import assignments as assignments_of
from training.tuning.space import search_space

if TYPE_CHECKING:
    import optuna

    from training.tuning.study import Search

TUNING_FOLDER = "tuning"
RESULT_FILE = "result.json"


def tune(
    name: Name,
    trials: Annotated[int, typer.Option(min=1, help="Trials of the study in all, with those of earlier commands.")],
    assignments: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="PATH=VALUE", help="Change one setting for all trials; may be repeated."),
    ] = None,
    searched: Annotated[
        list[str] | None,
        typer.Option(
            "--search",
            metavar="PATH=VALUES",
            help="Search this setting: PATH=LOW..HIGH, PATH=LOW..HIGH,log or PATH=FIRST/SECOND; may be repeated "
            "[default: the search of the recipe, else by what its network has].",
        ),
    ] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="Short for --set fitting.epochs=N.")] = None,
    dataset: Annotated[
        Dataset, typer.Option(help="Train on the real data set, or on generated drawings and sentences.")
    ] = Dataset.REAL,
    timeout: Annotated[float | None, typer.Option(min=0, help="No trial starts after this many seconds.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the values that are tried.")] = 0,
    study: Annotated[str, typer.Option(help="Name of the study; the same name continues it.")] = "study",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the space, and train nothing.")] = False,
    runs: Runs = Path("runs"),
) -> None:
    """Search for better settings with Optuna; the same command continues after Ctrl-C.

    Trials are compared by the validation figure of fitting.monitor; after each epoch a trial that is worse than the
    median of the others ends early. The test set is not used; nothing is published. Writes to runs/NAME/tuning/STUDY/.
    """
    overrides = [*(assignments or []), *([f"fitting.epochs={epochs}"] if epochs else [])]
    recipe = apply_overrides(trained_recipe(name), overrides)
    fixed = [assignment.partition("=")[0].strip() for assignment in overrides]
    space, console = search_space(recipe, searched or (), fixed), Console()
    table = Table("setting", "searched", "of the recipe")
    now = {path: as_text(value) for path, value in settings(recipe)}
    for path, tried in space.items():
        table.add_row(path, str(tried), now[path])
    console.print(table)
    if dry_run:
        return
    directory = runs / recipe.name / TUNING_FOLDER / study
    environment.quiet_tensorflow()
    from training.recipe.recipe_data import read_recipe_data
    from training.tuning.study import Search, open_study, search_for

    splits = read_recipe_data(recipe, synthetic=dataset == Dataset.SYNTHETIC)
    search = Search(recipe=recipe, dataset=dataset.value, space=space, seed=seed)
    repeat = [*environment.COMMAND, "run", name, *(["--dataset", SYNTHETIC] if dataset == SYNTHETIC else [])]
    with (
        space_wanted("the journal of the study", f"free some space; the same command continues {directory}"),
        open_study(search, directory) as opened,
    ):
        console.print(f"[bold]{recipe.name}[/]: the study is in {directory}", highlight=False)
        try:
            search_for(search, opened, splits, trials=trials, timeout_s=timeout, directory=directory, console=console)
        except KeyboardInterrupt:
            _conclude(search, opened, repeat, overrides, directory, console)
            console.print("interrupted; the same command continues with the trial that was running")
            raise typer.Exit(INTERRUPTED) from None
        if not _conclude(search, opened, repeat, overrides, directory, console):
            raise TrainingDiverged(
                f"no trial of {directory} has reached its end; allow more --trials, or a longer --timeout"
            )


def _conclude(
    search: "Search",
    study: "optuna.Study",
    repeat: list[str],
    overrides: list[str],
    directory: Path,
    console: Console,
) -> bool:
    """Print and write what the study found so far; whether any trial was complete."""
    from optuna.trial import TrialState

    from training.runs.record import write_json
    from training.tuning.pictures import HISTORY_PICTURE, SLICE_PICTURE, draw_history, draw_slices
    from training.tuning.study import importances, tried

    trials, monitor = tried(study), search.recipe.fitting.monitor
    complete = [trial for trial in trials if trial.state is TrialState.COMPLETE]
    pruned = sum(trial.state is TrialState.PRUNED for trial in trials)
    failed = len(trials) - len(complete) - pruned
    console.print(f"{len(complete)} complete, {pruned} pruned, {failed} failed", highlight=False)
    if not complete:
        return False
    best, shares = study.best_trial, importances(study)
    values: dict[str, str] = best.user_attrs["values"]
    table = Table("setting", "best", *(["importance"] if shares else []))
    for path, value in values.items():
        table.add_row(path, value, *([f"{shares[path]:.0%}"] if shares else []))
    console.print(f"best {monitor} {best.value:.4f}, trial {trials.index(best) + 1}", highlight=False)
    console.print(table)
    settled = [*overrides, *assignments_of(values)]
    command = shlex.join([*repeat, *(part for each in settled for part in ("--set", each))])
    console.print(f"to train it: {command}", highlight=False, soft_wrap=True)
    draw_history(trials, directory / HISTORY_PICTURE, monitor=monitor, minimize=search.direction == "minimize")
    draw_slices(
        [trial for trial in trials if trial.value is not None], search.space, directory / SLICE_PICTURE, monitor=monitor
    )
    document: dict[str, Any] = {
        "model": search.recipe.name,
        "monitor": monitor,
        "best": {"trial": trials.index(best) + 1, "value": best.value, "settings": values, "command": command},
        "importance": shares,
        "trials": [{"state": trial.state.name.lower(), "value": trial.value, **trial.user_attrs} for trial in trials],
        "space": {path: str(tried) for path, tried in search.space.items()},
        "packages": environment.packages(),
    }
    write_json(directory / RESULT_FILE, document)
    console.print(f"pictures: {directory / HISTORY_PICTURE}, {directory / SLICE_PICTURE}", highlight=False)
    return True
