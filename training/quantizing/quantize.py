"""One quantised version, from the published one to its own: read ``quantize`` first, it contains all steps."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from app.contract.golden import LARGEST_TOLERANCE, Golden, RawSample, magnitude
from app.contract.manifest import verify_manifest, write_manifest
from app.contract.model_spec import ONNX_FILE, ModelSpec
from app.contract.steps import Classification, ImagePreprocessing, TextPreprocessing
from app.contract.transforms import image_to_instance
from training.data.pipelines import Feed
from training.datasets.splits import Examples, Splits
from training.errors import SettingRefused
from training.export.model_export import Runner, onnx_runner
from training.export.parity import check_runner
from training.export.version_predictor import VersionPredictor, arrays_of
from training.measure.decisive import is_within, name_of, shown
from training.measure.evaluate import predict
from training.measure.label_sets import MultiLabel
from training.publish.version_directory import add_version
from training.quantizing.graphs import check_quantizable, random_batches, write_float16, write_int8
from training.quantizing.labels import keep_default
from training.quantizing.records import Quantized, write_records
from training.quantizing.speed import seconds_per_row
from training.recipe.recipe import Recipe
from training.recipe.recipe_data import read_recipe_data
from training.runs.directories import BASELINE_FILE, read_metrics
from training.runs.published_data import check_inputs, refuse_changed_data

Kind = Literal["int8", "float16"]
CALIBRATION_BATCH = 64


@dataclass(frozen=True, kw_only=True)
class Request:
    """What to quantise.

    Attributes:
        recipe: that the version was trained with.
        version: directory of the published version.
        kind: int8 or float16.
        calibration_rows: rows of the training part from which int8 takes the ranges of the activations.
        margin: how much worse it may be on the validation rows: accuracy, or a share of an error.
        synthetic: whether the version was trained on the recipe's generated data.
        command: for the record.
    """

    recipe: Recipe
    version: Path
    kind: Kind
    calibration_rows: int
    margin: float
    synthetic: bool
    command: str


class TooInaccurate(SettingRefused):
    """The quantised graph is worse than the margin allows; nothing was published."""


def quantize(request: Request) -> Quantized:
    """Quantise a published version, measure both on the validation rows, and publish it as the next version.

    The test part is not read: it was used once, for the published version.

    Raises:
        TooInaccurate: it is worse by more than the margin.
        TrainingError: and its subclasses; one sentence each.
        VersionRefused: the version is damaged.
    """
    version, kind = request.version, request.kind
    verify_manifest(version)
    spec = ModelSpec.read(version)
    check_kind(request, spec)
    splits = read_recipe_data(request.recipe, synthetic=request.synthetic)
    refuse_changed_data(request.recipe, splits, read_metrics(version), version)
    feed = request.recipe.pipeline.bind(splits.train, classes=splits.classes)
    check_inputs(request.recipe, feed, spec, version)
    result: list[Quantized] = []

    def write(directory: Path) -> None:
        target = directory / ONNX_FILE
        if kind == "int8":
            inputs = _inputs(feed, splits.train, spec, request.calibration_rows)
            write_int8(
                version / ONNX_FILE,
                target,
                random_batches(inputs, rows=request.calibration_rows, size=CALIBRATION_BATCH),
            )
        else:
            write_float16(version / ONNX_FILE, target)
        runners = {
            f"version {version.name}": onnx_runner(version / ONNX_FILE, spec),
            kind: onnx_runner(target, spec),
        }
        golden = _golden(version, spec, runners[kind])
        check_runner(f"{spec.name}: {kind}", golden, runners[kind], tolerance=golden.tolerance_for(""), than="itself")
        found = _measured(request, splits, feed, spec, runners, golden)
        found.size_bytes = dict(
            zip(runners, (path.stat().st_size for path in (version / ONNX_FILE, target)), strict=True)
        )
        write_records(
            found,
            spec,
            version=version,
            kind=kind,
            calibration_rows=request.calibration_rows if kind == "int8" else None,
            command=request.command,
            directory=directory,
        )
        spec.write(directory)
        golden.write(directory)
        (directory / BASELINE_FILE).write_bytes((version / BASELINE_FILE).read_bytes())
        write_manifest(directory)
        verify_manifest(directory)
        ModelSpec.read(directory)
        Golden.read(directory)
        found.holds_default = keep_default(version.parent, int(version.name))  # before the new version exists
        result.append(found)

    directory = add_version(version.parent, write=write, model_files={})
    result[0].directory = directory
    return result[0]


def check_kind(request: Request, spec: ModelSpec) -> None:
    """Refuse models that are not quantised, before their data is read.

    Raises:
        SettingRefused: names the reason.
    """
    if len(spec.inputs) > 1 or len(spec.outputs) > 1 or isinstance(spec.preprocessing, TextPreprocessing):
        raise SettingRefused(
            f"{spec.name} is not a network of one input and one output without texts; only such versions are quantised"
        )
    if isinstance(request.recipe.task, MultiLabel):
        raise SettingRefused(
            f"{spec.name} gives sets of labels; only versions of one class or of numbers are quantised"
        )
    if request.kind == "int8":
        check_quantizable(request.version / ONNX_FILE)


def _inputs(feed: Feed, examples: Examples, spec: ModelSpec, rows: int) -> dict[str, npt.NDArray[Any]]:
    """The first inputs of a part as the graph receives them."""
    dataset, _ = feed.evaluation(feed.sample(examples, rows), batch_size=CALIBRATION_BATCH)
    batches = [arrays_of(inputs, spec) for inputs, _ in dataset]
    return {name: np.concatenate([batch[name] for batch in batches]) for name in batches[0]}


def _golden(version: Path, spec: ModelSpec, run: Runner) -> Golden:
    """The golden samples of the version, with the answers of the quantised graph and a tolerance of its own."""
    golden = Golden.read(version)
    rows = [run(golden.row(row)) for row in range(golden.rows)]
    outputs = {name: np.concatenate([row[name] for row in rows]) for name in golden.outputs}
    raw = tuple(sample for sample in golden.raw if _label(sample, spec, run) == sample.label)
    tolerance = {"default": LARGEST_TOLERANCE * magnitude(outputs)}
    return replace(golden, outputs=outputs, tolerance=tolerance, raw=raw)


def _label(sample: RawSample, spec: ModelSpec, run: Runner) -> str:
    """The first label that an encoded image gets."""
    steps, classes = spec.preprocessing, spec.postprocessing
    assert isinstance(steps, ImagePreprocessing)
    assert isinstance(classes, Classification)
    instance = image_to_instance(sample.data, preprocessing=steps, target=spec.input(steps.input))
    scores = run({steps.input: instance[None]})[classes.output]
    return classes.labels[int(scores[0].argmax())]


def _measured(
    request: Request,
    splits: Splits,
    feed: Feed,
    spec: ModelSpec,
    runners: Mapping[str, Runner],
    golden: Golden,
) -> Quantized:
    """Figures of both graphs on the validation rows, and their time."""
    recipe, part = request.recipe, splits.validation
    answers = [
        predict(VersionPredictor(spec, run), feed, part, batch_size=recipe.fitting.evaluation_batch_size)
        for run in runners.values()
    ]
    truth = feed.truth(part)
    before, after = (recipe.task.measure(each, truth, names=splits.labels) for each in answers)
    if not is_within(before, after, request.margin):
        raise TooInaccurate(
            f"as {request.kind} the {name_of(before)} on {before.rows} validation rows goes from {shown(before)} to "
            f"{shown(after)}, worse by more than {request.margin:g}; nothing was published: more --calibration-rows "
            "may help, and a larger --margin accepts it"
        )
    classes = isinstance(spec.postprocessing, Classification)
    original = Golden.read(request.version).outputs
    return Quantized(
        before=before,
        after=after,
        same=float((answers[0].argmax(axis=1) == answers[1].argmax(axis=1)).mean()) if classes else None,
        difference=max(float(np.abs(golden.outputs[name] - values).max()) for name, values in original.items())
        / magnitude(original),
        seconds=seconds_per_row(runners, golden.inputs),
    )
