"""Command line of training: ``python -m training`` (also installed as ``atelier-training``).

``app.cli`` has the same options of ``Typer``, so that both have the same layout; a test compares them. Importing this
module, ``list`` and ``--help`` do not import TensorFlow.
"""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from app import __version__
from app.errors import ServingError
from training import environment
from training.errors import RecipeBroken, SettingRefused, TrainingError
from training.fit.distribution import Kind
from training.importing.command import import_model
from training.new.command import new_recipe
from training.on_ray.launcher import check_options, train_on_ray
from training.recipe.lesson import Lesson
from training.recipe.recipe import Format
from training.retraining.command import retrain_model
from training.runs.catalogue import load_recipe, recipe_file, recipe_names
from training.runs.configured import read_config_file
from training.runs.directories import latest_version, new_directory, read_config, read_metrics, unfinished_directory
from training.runs.evaluate_command import evaluate_run
from training.runs.report_command import report
from training.runs.series import compare_optimizers, reproduce, run_all
from training.runs.session import (
    INTERRUPTED,
    Dataset,
    Models,
    Name,
    Runs,
    exit_code,
    keep_real_version,
    train,
    work,
)
from training.tuning.command import tune

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"max_content_width": 120},
)


@app.callback(invoke_without_command=True)
def version_flag(
    version: Annotated[bool, typer.Option("--version", help="Show the version and exit.")] = False,
) -> None:
    """Train models, measure them, and publish versions for the service.

    A run writes to runs/NAME/; only --publish adds a version to models/.
    """
    if version:
        Console().print(__version__)
        raise typer.Exit


@app.command("list")
def list_recipes(models: Models = Path("models")) -> None:
    """List the recipes: target and published version."""
    console, broken = Console(), []
    for name in recipe_names():
        try:
            recipe = load_recipe(name)
        except RecipeBroken as error:
            console.print(f"[bold]{name}[/]\n  [red]cannot be read, see below[/]")
            broken.append(str(error))
            continue
        target = None if isinstance(recipe, Lesson) else recipe.targets.test_accuracy
        facts = {
            "does": recipe.description,
            "target": f"accuracy {target:.3f}" if target else "",
            "published": published(models, name),
        }
        table = Table(box=None, show_header=False, padding=(0, 0, 0, 2))
        for key in filter(facts.get, facts):
            table.add_row(key, escape(facts[key]))
        console.print(f"[bold]{name}[/]", table, sep="\n")
    if broken:
        raise RecipeBroken("; ".join(broken))


def published(models: Path, name: str) -> str:
    """The newest published version and its figure on test data, in words."""
    version = latest_version(models, name)
    if version is None:
        return ""
    metrics = read_metrics(version)
    test = metrics.get("test") or {}
    figure = f", perplexity {test['perplexity']:.1f}" if "perplexity" in test else ""
    figure = figure or (f", {test['accuracy']:.4f}" if "accuracy" in test else "")
    synthetic = " (synthetic data)" if metrics.get("dataset", {}).get("form") == Dataset.SYNTHETIC else ""
    return f"version {version.name}{figure}{synthetic}"


app.command("new")(new_recipe)


@app.command("run")
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


app.command("retrain")(retrain_model)


app.command("evaluate")(evaluate_run)
app.command(short_help="Write a report of a run or a version; compare several.")(report)
app.command(short_help="Search for better settings of a recipe.")(tune)
app.command("import")(import_model)
app.command(short_help="Train published models again and compare the figures.")(reproduce)
app.command("compare", short_help="Train one model with several optimisers.")(compare_optimizers)
app.command("all", short_help="Run every recipe without a published version.")(run_all)


def main() -> None:
    """Run the command line. Exit codes: 0 done, 1 a target or a comparison failed, 2 a mistake, 3 a retrained
    network that is not better."""
    try:
        app()
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in {"tensorflow", "tf_keras"}:
            raise
        Console(stderr=True).print(
            f"[red]error:[/] {error.name} is not installed; run: make train-install", highlight=False
        )
        sys.exit(2)
    except KeyboardInterrupt:
        Console(stderr=True).print("interrupted")
        sys.exit(INTERRUPTED)
    except (TrainingError, ServingError) as error:
        Console(stderr=True).print(f"[red]error:[/] {escape(str(error))}", highlight=False, soft_wrap=True)
        sys.exit(2)
