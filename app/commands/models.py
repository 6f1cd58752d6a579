"""``models``, ``predict`` and ``devices``: commands that need no running service."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

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

METRICS_LIMIT_BYTES = 8 * 2**20


@with_model_options
def models(settings: Settings) -> None:
    """List the published models: inputs, answers, accuracy."""
    import json

    from app.contract.files.regular import read_file
    from app.contract.model_spec import ModelSpec
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
                metrics = json.loads(read_file(directory / "metrics.json", METRICS_LIMIT_BYTES))
                if not isinstance(metrics, dict):
                    raise ValueError("metrics.json is not an object")
            except (ServingError, OSError, ValueError, RecursionError) as error:
                print_facts(f"{name}, version {version}", {"unreadable": Text(str(error), style="red")})
                continue
            kind = spec.preprocessing.kind if spec.preprocessing else "tensor"
            inputs = ", ".join(f"{t.name} {t.dtype}{list(t.shape)}" for t in spec.inputs)
            measured = f"{_measured(metrics.get('test') or {})} on test data"
            if "imported" in metrics:
                measured = "nothing here; it was imported"
            if metrics.get("dataset", {}).get("form") == "synthetic":
                measured += " (synthetic data)"
            facts = {"takes": f"{kind}: {inputs}", "answers": _answers(spec), "measured": measured}
            print_facts(f"{name}, version {version}{marked}", {key: Text(value) for key, value in facts.items()})


def _fail_without_models(settings: Settings) -> NoReturn:
    """The error if no model has a version."""
    if settings.only_models_dir is None:
        fail(f"no model of {settings.model_config_file or settings.model_base_path} has a version")
    fail(f"no published model in {settings.models_dir}; train one: python -m training run NAME --publish")


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


def _measured(test: dict[str, Any]) -> str:
    """The figure of the test set that matters most, of each output."""
    if "heads" in test:
        return ", ".join(f"{name} {_measured(figures)}" for name, figures in test["heads"].items())
    for name, form in _FIGURES.items():
        if name in test:
            return form.format(test[name])
    return "-"


_FIGURES = {
    "perplexity": "perplexity {:.1f}",
    "accuracy": "accuracy {:.4f}",
    "micro_f1": "micro F1 {:.4f}",
    "rmse": "RMSE {:.4g}",
}


@with_loading_options
def predict(
    settings: Settings,
    model: Annotated[str, typer.Argument(help="Name of the model, as `models` lists it.")],
    file_or_text: Annotated[str, typer.Argument(help="An image file, a text file, or the text itself.")],
    version: Annotated[int | None, typer.Option(help="Version [default: the default version of the model].")] = None,
    top_k: Annotated[int, typer.Option(min=1, help="Number of labels to show.")] = 3,
) -> None:
    """Classify one image or text, without a running service."""
    configure_logging(level="error", form="text")
    path = Path(file_or_text)
    data = path.read_bytes() if _is_file(path) else None
    try:
        ranked = asyncio.run(_predict(settings, model, version, data, file_or_text, top_k))
    except ServingError as error:
        fail(error.message)
    for label, score in ranked:
        Console().print(Text(f"{score:7.4f}  {label}"))


async def _predict(
    settings: Settings, name: str, version: int | None, data: bytes | None, text: str, top_k: int
) -> Any:
    import time

    from app.contract.tokenizer import text_from_bytes
    from app.lifecycle.draining import drain
    from app.serving.predictor import predict as run
    from app.telemetry.metrics import Metrics
    from app.wiring.assembly import build_lifecycle

    lifecycle = build_lifecycle(settings, Metrics())
    registry = lifecycle.registry
    await lifecycle.load_one(name, version)
    model = registry.get(name, version)
    try:
        if model.tokenizer is not None:
            if data is None and not any(map(str.isspace, text)):
                typer.echo(f"there is no file {text!r}; it is classified as text", err=True)
            instance: Any = model.instance_from_text(text if data is None else text_from_bytes(data))
        elif data is None and model.spec.preprocessing is not None:
            fail(f"there is no file {text!r}; model {name!r} takes an image file")
        else:
            instance = model.instance_from_image(data or b"")
        prediction = await run(model, {model.input_for_media(): instance[None]}, clock=time.perf_counter)
        return model.ranked(prediction.outputs[model.score_output()], top_k=top_k)[0]
    finally:
        await drain(registry, 0)


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a sentence is longer than a file name may be
        return False


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
