"""Publishes a model version: exports it twice, compares it with Keras, describes and hashes it, in one final step."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from app.contract.golden import LARGEST_TOLERANCE, Golden, RawSample, magnitude
from app.contract.manifest import verify_manifest, write_manifest
from app.contract.model_spec import LITE_FILE, ONNX_FILE, ModelSpec
from app.contract.steps import Classification, ImagePreprocessing, TextPreprocessing
from app.contract.tokenizer import Tokenizer
from app.contract.transforms import check_steps
from app.errors import VersionRefused
from training.export import model_export as export
from training.export.keras_weights import write_keras_weights
from training.export.lite import export_lite, lite_runner
from training.export.parity import TOLERANCE as PARITY
from training.export.parity import check_parity, padding_tolerance
from training.export.rounding import rounding_factor
from training.publish.golden_rows import TOLERANCE, Material, golden_rows
from training.publish.golden_search import keras_answers
from training.publish.triton_config import CONFIG_FILE, triton_config
from training.publish.version_directory import add_version

if TYPE_CHECKING:
    import tf_keras


Card = Callable[[Mapping[str, Any]], str]
"""The text of card.md, from the content of metrics.json."""


@dataclass(frozen=True, kw_only=True)
class Version:
    """Everything from which a version directory is written.

    Attributes:
        model: trained Keras model that accepts the spec's raw inputs.
        spec: becomes model.json; ``opset`` should be ``training.export.model_export.OPSET``.
        golden_inputs: input name -> (rows, *shape), at least 64 rows, padded with 0 if the length varies.
        golden_lengths: input name -> int32 (rows,), only for inputs of variable length.
        raw: encoded samples with the label that Keras gives them.
        tokenizer: for text models, written as vocabulary.txt.
        metrics: becomes metrics.json, with the measured parity under ``export``.
        baseline: becomes baseline.json.
        card: metrics.json -> card.md.
        keep_weights: whether to add model.weights.h5.
        tflite: whether to add model.tflite.
    """

    model: "tf_keras.Model"
    spec: ModelSpec
    golden_inputs: Mapping[str, npt.NDArray[Any]]
    golden_lengths: Mapping[str, npt.NDArray[Any]]
    raw: tuple[RawSample, ...]
    tokenizer: Tokenizer | None
    metrics: Mapping[str, Any]
    baseline: Mapping[str, Any]
    card: Card
    keep_weights: bool = False
    tflite: bool = False


def publish_model(
    model: "tf_keras.Model",
    spec: ModelSpec,
    *,
    tokenizer: Tokenizer | None = None,
    material: Material | None = None,
    metrics: Mapping[str, Any],
    baseline: Mapping[str, Any],
    card: Card,
    repository: Path,
    keep_weights: bool = False,
    tflite: bool = False,
) -> Path:
    """Find golden samples for a trained model and ``publish`` it.

    Args:
        material: see ``golden_rows``; the others as in ``Version`` and ``publish``.
    """
    inputs, lengths, raw = golden_rows(spec, model, tokenizer, material)
    version = Version(
        model=model,
        spec=spec,
        golden_inputs=inputs,
        golden_lengths=lengths,
        raw=raw,
        tokenizer=tokenizer,
        metrics=metrics,
        baseline=baseline,
        card=card,
        keep_weights=keep_weights,
        tflite=tflite,
    )
    return publish(version, repository=repository)


def publish(version: Version, *, repository: Path) -> Path:
    """Write the next version of the model and return its directory.

    Args:
        version: what to publish.
        repository: directory of all models; writes ``repository/NAME/N``, with N one above the highest version, and
            replaces ``repository/NAME/config.pbtxt``.

    Raises:
        ParityBroken, ExportFailed: the exported graphs do not give Keras's numbers, or cannot be made.
        VersionRefused: the version breaks the on-disk contract that the service checks.
        OSError: the disk. In every case, and on Ctrl-C, only existing versions are left behind.
    """
    return add_version(
        repository / version.spec.name,
        write=lambda directory: _write_version(version, directory),
        model_files={CONFIG_FILE: triton_config(version.spec)},
    )


def _write_version(version: Version, directory: Path) -> None:
    """Write every file of the version, the manifest last, and read back the files that the service reads."""
    spec = version.spec
    _check(version)
    keras = export.keras_runner(version.model, spec)
    outputs = keras_answers(keras, version.golden_inputs, version.golden_lengths)
    rounding = rounding_factor(version.model, keras, version.golden_inputs, tolerance=PARITY)
    golden = Golden(
        inputs=version.golden_inputs,
        lengths=version.golden_lengths,
        outputs=outputs,
        tolerance={
            name: min(LARGEST_TOLERANCE, tolerance * rounding) * magnitude(outputs)
            for name, tolerance in TOLERANCE.items()
        },
        raw=version.raw,
    )
    _check_outputs(spec, golden.outputs)
    export.export_saved_model(version.model, spec, directory)
    export.export_onnx(version.model, spec, directory / ONNX_FILE)
    lite = directory / LITE_FILE
    if version.tflite:
        export_lite(version.model, spec, lite)
    parity = check_parity(
        spec.name,
        golden,
        keras=keras,
        saved_model=export.saved_model_runner(directory, spec),
        onnx=export.onnx_runner(directory / ONNX_FILE, spec),
        tflite=lite_runner(lite, spec) if version.tflite else None,
        padding_tolerance=padding_tolerance(directory / ONNX_FILE),
        rounding=rounding,
    )
    spec.write(directory)
    golden.write(directory)
    if version.tokenizer is not None and isinstance(spec.preprocessing, TextPreprocessing):
        version.tokenizer.write(directory / spec.preprocessing.vocabulary)
    sizes = {"tflite_bytes": lite.stat().st_size} if version.tflite else {}
    metrics = {**version.metrics, "export": {"parity": parity, **sizes, **_shown(spec, outputs)}}
    _write_text(directory / "metrics.json", _json(metrics))
    _write_text(directory / "baseline.json", _json(version.baseline))
    _write_text(directory / "card.md", version.card(metrics))
    if version.keep_weights:
        write_keras_weights(version.model, directory)
    write_manifest(directory)
    verify_manifest(directory)
    ModelSpec.read(directory)
    Golden.read(directory)


def _shown(spec: ModelSpec, outputs: Mapping[str, npt.NDArray[Any]]) -> dict[str, Any]:
    """How many classes the golden samples show; nothing without classes."""
    if not isinstance(spec.postprocessing, Classification):
        return {}
    scores = outputs[spec.postprocessing.output]
    return {"golden_classes": len(np.unique(scores.argmax(axis=1))), "classes": scores.shape[1]}


def _check(version: Version) -> None:
    """Refuse parts that do not match each other, before anything is exported."""
    steps = version.spec.preprocessing
    if isinstance(steps, ImagePreprocessing):
        check_steps(steps, version.spec.input(steps.input))
    if isinstance(steps, TextPreprocessing):
        words = version.tokenizer
        if words is None:
            raise VersionRefused(f"{version.spec.name}: a text model requires its tokenizer")
        largest = version.spec.input(steps.input).maximum
        found = (words.scheme, words.max_length, words.keep, words.id_count - 1)
        stated = (steps.scheme, steps.max_length, steps.keep, largest)
        if found != stated:
            raise VersionRefused(
                f"{version.spec.name}: the tokenizer's scheme, most tokens, kept end and largest id are {found}, "
                f"but the spec says {stated}"
            )


def _check_outputs(spec: ModelSpec, outputs: Mapping[str, npt.NDArray[Any]]) -> None:
    """Refuse a spec whose outputs differ from Keras's."""
    for tensor in spec.outputs:
        found = outputs[tensor.name]
        fits = len(found.shape) == len(tensor.batch_shape) and all(
            size in (-1, real) for size, real in zip(tensor.shape, found.shape[1:], strict=True)
        )
        if not fits or found.dtype != tensor.numpy_dtype:
            raise VersionRefused(
                f"{spec.name}: Keras gives {tensor.name!r} as {found.dtype} {found.shape[1:]}, "
                f"but the spec says {tensor.dtype} {tensor.shape}"
            )


def _write_text(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8", newline="\n")


def _json(document: Mapping[str, Any]) -> str:
    """Readable JSON without NaN; numpy numbers and arrays become plain ones."""

    def plain(value: Any) -> Any:
        if isinstance(value, np.ndarray | np.generic):
            return value.tolist()
        raise TypeError(f"{type(value).__name__} cannot be written as JSON")

    return json.dumps(document, indent=2, allow_nan=False, default=plain, ensure_ascii=False) + "\n"
