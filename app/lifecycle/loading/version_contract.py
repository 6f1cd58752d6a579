"""The contract of a version: model.json, its vocabulary and its golden samples, which must match each other."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from app.contract.extent import Extent
from app.contract.golden import GOLDEN_FILE, GOLDEN_LIMIT_BYTES, Golden
from app.contract.graph_facts import SIGNATURE
from app.contract.model_spec import (
    LARGEST_BATCH,
    ONNX_FILE,
    SPEC_FILE,
    SPEC_LIMIT_BYTES,
    ModelSpec,
)
from app.contract.said import NOTHING_SAID, Said
from app.contract.steps import ImagePreprocessing, TextPreprocessing
from app.contract.tensor_spec import TensorSpec
from app.contract.tokenizer import VOCABULARY_LIMIT_BYTES, Tokenizer
from app.contract.transforms import check_steps
from app.contract.version_files import VersionFiles
from app.drift.baseline import BASELINE_FILE, BASELINE_LIMIT_BYTES, measures_of
from app.drift.measures import Measure
from app.drift.typical import Typical, typical_values
from app.errors import VersionRefused
from app.types import Array, Tensors


@dataclass(frozen=True, kw_only=True)
class VersionContract:
    """Everything of a version except its backends.

    Attributes:
        spec: model.json, or derived from the graph.
        tokenizer: of text models.
        golden: the golden samples; None if the version has none.
        generated: inputs in their place; None if the graph runs with none of them.
        alone: why instances of a version without golden samples run one at a time; empty if they share batches.
        is_whole: whether the first dimension of its graph turned out not to be a batch, so that the samples have one
            dimension more than those that were given.
        than: the source of the answers in the golden samples, for messages.
        signature: its name.
        defaults: see ``LoadedModel``.
        measures: of its drift.
        typical, said: see ``LoadedModel``.
    """

    spec: ModelSpec
    tokenizer: Tokenizer | None
    golden: Golden | None
    generated: Tensors | None = None
    alone: str = ""
    is_whole: bool = False
    than: str = "Keras"
    signature: str = SIGNATURE
    defaults: Mapping[str, Any] = field(default_factory=dict)
    measures: tuple[Measure, ...] = ()
    typical: Mapping[str, Typical] = field(default_factory=dict)
    said: Said = NOTHING_SAID

    @property
    def samples(self) -> Tensors | None:
        """Realistic inputs; None if none are known."""
        return self.generated if self.golden is None else self.golden.inputs

    @property
    def unverified(self) -> str:
        """Why its answers are not verified; empty if they are."""
        if self.golden is not None:
            return ""
        if not self.alone:
            return "unverified: it has no golden samples; its batches agree with single instances"
        unit = "instances run one at a time" if self.spec.batched else "each request runs as a whole"
        return f"unverified: it has no golden samples; {unit}: {self.alone}"


def read_contract(files: VersionFiles, name: str, *, is_named: bool = False) -> VersionContract:
    """Read the contract of a version of the model ``name``.

    Args:
        files: of the version.
        name: under which it is served.
        is_named: whether the operator states this name for the path, as with --model-name; model.json may then have
            another one. Otherwise that is a version in the directory of another model.

    Raises:
        VersionRefused: names the file and the rule that it breaks.
    """
    directory = files.directory
    spec = ModelSpec.parse(directory / SPEC_FILE, files.read(SPEC_FILE, SPEC_LIMIT_BYTES))
    if is_named:
        spec = spec.model_copy(update={"name": name})
    if spec.name != name:
        raise VersionRefused(f"{directory}: model.json is of model {spec.name!r}")
    if files.has(ONNX_FILE):
        spec = spec.with_utf8_inputs()
    tokenizer = _read_preprocessing(files, spec)
    path = directory / GOLDEN_FILE
    golden = Golden.parse(path, files.read(GOLDEN_FILE, GOLDEN_LIMIT_BYTES))
    check_samples(path, "input", golden.inputs, spec.inputs)
    check_samples(path, "output", golden.outputs, spec.outputs)
    measures: tuple[Measure, ...] = ()
    typical: dict[str, Typical] = {}
    if files.has(BASELINE_FILE):
        baseline = files.read(BASELINE_FILE, BASELINE_LIMIT_BYTES)
        measures, typical = measures_of(baseline, spec), typical_values(baseline)
    said = Said.read(files)
    return VersionContract(spec=spec, tokenizer=tokenizer, golden=golden, measures=measures, typical=typical, said=said)


def largest_batch(contract: VersionContract, stated: int | None) -> int:
    """Most instances in one backend call.

    The hint of model.json is cut to what is possible here: it is a hint, and comes from another machine. What
    serving.json states is not cut but refused, so that its author learns of it.

    Args:
        contract: of the version.
        stated: by serving.json; None takes the hint.

    Raises:
        VersionRefused: inputs and outputs of ``stated`` instances, or of a single one, exceed the limits of ``Extent``.
    """
    possible = possible_batch(contract)
    if stated is None:
        return min(contract.spec.batching.max_batch_size, possible)
    if stated > possible and contract.alone:
        raise VersionRefused(
            f"batching.max_batch_size is {stated}, and {contract.spec.name!r} cannot batch: {contract.alone}"
        )
    if stated > possible:
        extent = _instance_extent(contract)
        raise VersionRefused(
            f"batching.max_batch_size is {stated}, and inputs and outputs of one instance of {contract.spec.name!r} "
            f"have {extent.in_words}; {extent.limit_in_words}, a batch of {possible}, is the limit"
        )
    return stated


def possible_batch(contract: VersionContract) -> int:
    """Most instances that a batch of this version may have anywhere.

    Raises:
        VersionRefused: a single one is too large.
    """
    if contract.alone:
        return 1
    extent = _instance_extent(contract)
    if not extent.possible_rows:
        raise VersionRefused(
            f"inputs and outputs of one instance of {contract.spec.name!r} have {extent.in_words}; a batch may have "
            f"{extent.limit_in_words}"
        )
    return min(LARGEST_BATCH, extent.possible_rows)


def _instance_extent(contract: VersionContract) -> Extent:
    """Of the inputs and outputs of one instance: as long as a text may be, else as in the golden samples."""
    step, known = contract.spec.preprocessing, dict(contract.samples or {})
    if contract.golden is not None:
        known |= contract.golden.outputs
    text = step if isinstance(step, TextPreprocessing) else None
    total = Extent()
    for tensor in (*contract.spec.required, *contract.spec.outputs):
        samples = known.get(tensor.name)
        extent = tensor.extent(1) if samples is None else Extent.held(samples[:1])
        if text is not None and tensor.name == text.input:
            longest = Extent.of(tensor.numpy_dtype, text.max_length)
            extent = max(extent, longest, key=lambda each: each.nbytes)
        total += extent
    return total


def check_samples(
    path: Path, kind: str, samples: Tensors, tensors: tuple[TensorSpec, ...], *, says: str = "model.json says"
) -> None:
    """Refuse golden samples of other tensors than the contract states.

    Args:
        path: of the samples.
        kind: "input" or "output".
        samples: name -> (rows, *shape).
        tensors: of the contract.
        says: its source, for messages.

    Raises:
        VersionRefused: names the tensor.
    """
    stated = {tensor.name: tensor for tensor in tensors}
    if not {tensor.name for tensor in tensors if not tensor.optional} <= samples.keys() <= stated.keys():
        raise VersionRefused(f"{path}: its {kind}s are {sorted(samples)}, {says} {sorted(stated)}")
    for name, values in samples.items():
        if values.dtype != stated[name].numpy_dtype or not _fits(values, stated[name]):
            raise VersionRefused(
                f"{path}: {kind} {name!r} is {values.dtype} of shape {values.shape[1:]}, {says} "
                f"{stated[name].instance_in_words}"
            )


def _fits(values: Array, tensor: TensorSpec) -> bool:
    sizes = values.shape[1:]
    return len(sizes) == len(tensor.shape) and all(
        stated in (-1, size) for size, stated in zip(sizes, tensor.shape, strict=True)
    )


def _read_preprocessing(files: VersionFiles, spec: ModelSpec) -> Tokenizer | None:
    """Check the image steps, or read the vocabulary."""
    step = spec.preprocessing
    if isinstance(step, ImagePreprocessing):
        check_steps(step, spec.input(step.input))
        return None
    if isinstance(step, TextPreprocessing):
        data = files.read_inside(step.vocabulary, VOCABULARY_LIMIT_BYTES)
        path = files.directory / step.vocabulary
        tokenizer = Tokenizer.parse(path, data, max_length=step.max_length, keep=step.keep, scheme=step.scheme)
        _check_id_range(files.directory, spec.input(step.input), tokenizer)
        return tokenizer
    return None


def _check_id_range(directory: Path, tensor: TensorSpec, tokenizer: Tokenizer) -> None:
    if tensor.maximum != tokenizer.id_count - 1 or tensor.minimum != 0:
        raise VersionRefused(
            f"{directory}: the vocabulary gives ids 0 to {tokenizer.id_count - 1}, "
            f"{tensor.name!r} states {tensor.minimum} to {tensor.maximum}"
        )
