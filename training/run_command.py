"""The command ``run``: which recipe, which settings, which directory; the rest is ``runs.session`` and ``on_ray``."""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from training import environment
from training.errors import SettingRefused
from training.fit.distribution import Kind
from training.on_ray.launcher import check_options, train_on_ray
from training.recipe.lesson import Lesson
from training.recipe.recipe import Format
from training.runs.catalogue import load_recipe, recipe_file
from training.runs.configured import read_config_file
from training.runs.directories import new_directory, read_config, unfinished_directory
from training.runs.session import (
    Dataset,
    Models,
    Name,
    Runs,
    exit_code,
    keep_real_version,
    train,
    work,
)


def run_recipe(
    context: typer.Context,
    name: Name,
    assignments: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="PATH=VALUE",
            help="Change one setting, for example optimizer.learning_rate=0.01; may be repeated.",
        ),
    ] = None,
    epochs: Annotated[
        int | None, typer.Option(min=1, help="Number of epochs; short for --set fitting.epochs=N.")
    ] = None,
    dataset: Annotated[
        Dataset, typer.Option(help="Train on the real data set, or on generated drawings and sentences.")
    ] = Dataset.REAL,
    test: Annotated[bool, typer.Option("--test", help="Also measure on the test set.")] = False,
    publish: Annotated[
        bool, typer.Option("--publish", help="Measure on the test set, then add the next version to --models-dir.")
    ] = False,
    force: Annotated[
        bool,
        typer.Option(
            "--force", help="Test and publish even if validation is below the target; the version records this."
        ),
    ] = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue the newest run that was interrupted or is not published.")
    ] = False,
    formats: Annotated[
        Format | None,
        typer.Option(help="Publish the version in this format too, next to SavedModel and ONNX; image models."),
    ] = None,
    tensorboard: Annotated[
        bool,
        typer.Option(
            "--tensorboard", help="Add histograms of the weights and the graph to the TensorBoard logs of the run."
        ),
    ] = False,
    mlflow: Annotated[
        str | None,
        typer.Option(
            metavar="URI", help="Report the run to this server of MLflow; `env` takes that of MLFLOW_TRACKING_URI."
        ),
    ] = None,
    strategy: Annotated[
        Kind,
        typer.Option(
            help="Train at once on all GPUs of this machine, or on several machines that TF_CONFIG names or Ray finds."
        ),
    ] = Kind.NONE,
    workers: Annotated[
        int | None, typer.Option(metavar="N", help="Number of workers of --strategy ray, each on one CPU.")
    ] = None,
    ray_address: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="Address of a running Ray cluster for --strategy ray, HOST:PORT or `auto` [default: start one here].",
        ),
    ] = None,
    config_file: Annotated[
        Path | None,
        typer.Option(
            "--config",
            metavar="FILE",
            help="Take the settings and the data set of this config.json of a run; other options win.",
        ),
    ] = None,
    run_id: Annotated[
        str | None, typer.Option(help="Name of the directory of the run [default: date and time].")
    ] = None,
    models: Models = Path("models"),
    runs: Runs = Path("runs"),
) -> None:
    """Train one model; with --publish, publish it.

    Everything is written to runs/NAME/; --publish adds a version to models/. The test set is used once, at the end, and
    only if the validation accuracy reaches the target plus half a point.
    """
    check_options(strategy, workers, ray_address)
    command = environment.command()
    overrides = [*(assignments or []), *([f"fitting.epochs={epochs}"] if epochs else [])]
    further = [f"formats={formats}"] if formats else []
    kind = dataset.value
    if config_file and resume:
        raise SettingRefused("--resume continues with the settings of its own run; leave --config out")
    earlier = read_config_file(config_file) if config_file else None
    name = earlier.source(name) if earlier else name
    recipe, file = load_recipe(name), recipe_file(name)
    name = recipe.name
    if earlier:
        overrides = [*earlier.overrides(recipe, overrides), *overrides]
        kind = kind if _given(context, "dataset") else earlier.dataset.value
    if isinstance(recipe, Lesson):
        if (
            epochs
            or test
            or force
            or resume
            or formats
            or tensorboard
            or mlflow
            or dataset is Dataset.SYNTHETIC
            or strategy is not Kind.NONE
        ):
            raise SettingRefused(
                f"{name} is a lesson; it takes only --set, --publish, --run-id, --models-dir and --runs"
            )
        asked = {"command": command, "repository": models if publish else None}
        if work(recipe, tuple(overrides), new_directory(runs, name, run_id), Console(), **asked).findings.missed:
            raise typer.Exit(1)
        return
    if resume and strategy in {Kind.MULTI_WORKER, Kind.RAY}:
        raise SettingRefused(f"--strategy {strategy} does not resume: the checkpoints are files of worker 0 alone")
    if resume:
        directory = unfinished_directory(runs, name, run_id)
        config = read_config(directory)
        if overrides and overrides != config["overrides"]:
            raise SettingRefused(
                f"{directory} was started with {' '.join(config['overrides']) or 'no --set'}; "
                "--resume takes no other settings"
            )
        overrides, kind = config["overrides"], config["dataset"]
        overrides += [each for each in further if each not in overrides]  # changes the version, not the training
        command = f"{config['command']} && {command}"
    else:
        overrides, directory = [*overrides, *further], new_directory(runs, name, run_id)
    if publish and kind == Dataset.SYNTHETIC and not force:
        keep_real_version(models, name)
    plan: dict[str, Any] = {
        "mlflow": mlflow,
        "command": command,
        "recipe_file": str(file.resolve()) if file else None,
        "dataset": str(kind),
        "test": test,
        "force": force,
        "tensorboard": tensorboard,
        "repository": models if publish else None,
    }
    if strategy is Kind.RAY:
        code = train_on_ray(
            recipe, tuple(overrides), directory, Console(), workers=workers or 1, address=ray_address, **plan
        )
    else:
        outcome = train(recipe, tuple(overrides), directory, Console(), strategy=strategy, **plan)
        code = exit_code(outcome, test=test, force=force, repository=plan["repository"])
    if code:
        raise typer.Exit(code)


def _given(context: typer.Context, option: str) -> bool:
    """Whether the command line has this option."""
    source = context.get_parameter_source(option)
    return source is not None and source.name == "COMMANDLINE"
