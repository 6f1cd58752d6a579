"""``models``, ``predict`` and ``devices``: commands that need no running service."""

import asyncio
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from app.commands.asking import FileOrText, inputs_of, opened
from app.commands.shared import (
    fail,
    open_repository,
    print_facts,
    print_table,
    read_settings,
    with_loading_options,
    with_model_options,
)
from app.errors import ServingError
from app.settings import Settings
from app.telemetry.logging import configure_logging

if TYPE_CHECKING:
    from app.contract.model_spec import ModelSpec


@with_model_options
def models(settings: Settings) -> None:
    """List the published models: inputs, answers, accuracy."""
    import json

    from app.contract.files.regular import read_file
    from app.contract.model_spec import ModelSpec
    from app.contract.said import METRICS_FILE, METRICS_LIMIT_BYTES, measured
    from app.repository.last_valid_file import policy_in_effect
    from app.repository.layouts import Layout, foreign_files, layout_of
    from app.repository.scan import scan
    from app.repository.serving_file import default_by_files

    places = open_repository(settings).places
    found = scan(places)
    if not found:
        _fail_without_models(settings)
    for name, versions in found.items():
        place = places.of(name)
        policy = policy_in_effect(place.directory, place.stated, on_mistake=_warn)
        serving = default_by_files(policy, versions)
        for version in versions:
            directory = place.version_directory(version)
            marks = [label for label, number in policy.version_labels.items() if number == version]
            marks += ["serving"] if version == serving and len(versions) > 1 else []
            marked = f" ({', '.join(marks)})" if marks else ""
            try:
                file = place.file
                if file is not None or layout_of(directory) is Layout.FOREIGN:
                    source = foreign_files(directory).in_words if file is None else file.name
                    takes = Text(f"what {source} says; it brings no golden samples")
                    print_facts(f"{name}, version {version}{marked}", {"takes": takes})
                    continue
                spec = ModelSpec.read(directory)
                figure = measured(json.loads(read_file(directory / METRICS_FILE, METRICS_LIMIT_BYTES)))
            except (ServingError, OSError, ValueError, TypeError, RecursionError) as error:
                print_facts(f"{name}, version {version}", {"unreadable": Text(str(error), style="red")})
                continue
            kind = spec.preprocessing.kind if spec.preprocessing else "tensor"
            inputs = ", ".join(f"{t.name} {t.dtype}{list(t.shape)}" for t in spec.inputs)
            facts = {"takes": f"{kind}: {inputs}", "answers": _answers(spec), "measured": figure}
            print_facts(f"{name}, version {version}{marked}", {key: Text(value) for key, value in facts.items()})


def _fail_without_models(settings: Settings) -> NoReturn:
    """The error if no model has a version."""
    if settings.only_models_dir is None:
        fail(f"no model of {settings.model_config_file or settings.model_base_path} has a version")
    fail(f"no published model in {settings.only_models_dir}; train one: python -m training run NAME --publish")


def _warn(error: ServingError) -> None:
    Console(stderr=True).print(Text(f"warning: {error.message}", style="yellow"), soft_wrap=True)


def _answers(spec: "ModelSpec") -> str:
    """The kind of the model's answers, in words."""
    if spec.postprocessing is None:
        return "tensors"
    labels = getattr(spec.postprocessing, "labels", None)
    shown = ", ".join(labels[:10]) if labels else "the next word"
    others = [output.name for output in spec.outputs if output.name != spec.postprocessing.output]
    return f"{spec.postprocessing.output}: {shown}; tensors: {', '.join(others)}" if others else shown


@with_loading_options
def predict(
    settings: Settings,
    model: Annotated[str, typer.Argument(help="Name of the model, as `models` lists it.")],
    file_or_text: FileOrText,
    version: Annotated[int | None, typer.Option(help="Version [default: the default version of the model].")] = None,
    top_k: Annotated[int, typer.Option(min=1, help="Number of labels to show.")] = 3,
) -> None:
    """Classify an image, a text or rows, without a running service."""
    configure_logging(level="error", form="text")
    try:
        rows = asyncio.run(_predict(settings, model, version, file_or_text, top_k))
    except ServingError as error:
        fail(error.message)
    for number, ranked in enumerate(rows):
        if number:
            Console().print()
        _print_ranked(ranked)


def _print_ranked(ranked: list[tuple[str, float]]) -> None:
    for label, score in ranked:
        Console().print(Text(f"{score:7.4f}  {label}"))


async def _predict(
    settings: Settings, name: str, version: int | None, file_or_text: str, top_k: int
) -> list[list[tuple[str, float]]]:
    import time

    from app.serving.predictor import predict as run

    async with opened(settings, name, version) as model:
        _, tensors = inputs_of(model, file_or_text)
        prediction = await run(model, tensors, clock=time.perf_counter)
        return model.ranked(prediction.outputs[model.score_output()], top_k=top_k)


def devices(
    device: Annotated[str | None, typer.Option(help="As for serve: auto, cpu, cuda or cuda:N [default: auto].")] = None,
) -> None:
    """Show the compute devices, and where models run.

    Exits with 2 if the device in --device is not available.
    """
    from collections import Counter

    from app.contract.device import CPU
    from app.runtime.devices import probe_devices
    from app.runtime.gpu_usage import GpuMeter
    from app.runtime.placement import choose

    settings = read_settings(device=device)
    table = Table("device", "what it is", "memory", "used", "why")
    found = probe_devices()
    memory = {gpu.name: gpu.memory_in_words for gpu in GpuMeter().read()}
    for each in found:
        yes_or_no = "yes" if each.used else "no"
        table.add_row(each.name, each.description, memory.get(each.name, ""), yes_or_no, each.reason)
    print_table(table)
    try:
        placement = choose(settings.device, found, Counter())
    except ServingError as error:
        fail(error.message)
    Console(soft_wrap=True).print(Text(f"models run on {placement.device}: {placement.reason}"))
    if len(gpus := [each.name for each in found if each.used and each.name != CPU]) > 1:
        Console(soft_wrap=True).print(
            Text(f"versions, and instances of one version, are spread over {', '.join(gpus)}")
        )
