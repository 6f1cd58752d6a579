"""Gives a version of another tool golden samples: those of a file, or its present answers."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from app.contract.bfloat16 import STEP
from app.contract.golden import LARGEST_TOLERANCE, Golden, magnitude
from app.contract.model_spec import ModelSpec
from app.contract.version_files import VersionFiles
from app.errors import VersionRefused
from app.lifecycle.loading.device_choice import close_all
from app.lifecycle.loading.given_samples import GivenSamples
from app.lifecycle.loading.golden_gate import replay
from app.lifecycle.loading.loader import Loader, Opened
from app.lifecycle.loading.samples import Samples, stored
from app.lifecycle.loading.unverified import shapes_depend
from app.lifecycle.loading.verification import REPLAY_ROWS
from app.repository.layouts import Layout, layout_of
from app.repository.verified_samples import VerifiedSamples
from app.runtime.backend import join_rows, row_count, take_rows
from app.types import Array, Tensors


@dataclass(frozen=True)
class Verification:
    """The results of a verification.

    Attributes:
        rows: number of samples.
        difference: largest absolute difference of an answer from that of its sample.
        recorded: whether the answers are the version's own of today; otherwise the file gave them.
        path: of the samples, written now or before.
    """

    rows: int
    difference: float
    recorded: bool
    path: Path


def verify(
    loader: Loader,
    store: VerifiedSamples,
    name: str,
    version: int,
    given: GivenSamples | None,
    *,
    tolerance: float,
) -> Verification:
    """Run the samples, compare the answers, and write both into the state directory. Blocks.

    Args:
        loader: of the repository.
        store: the state directory.
        name: model.
        version: its number.
        given: inputs, and expected answers if it has them, in place of what the version has. None takes what it has, or
            records answers to the samples of model_warmup, or to generated inputs.
        tolerance: largest absolute difference of an answer, in proportion to the largest answer, which counts as at
            least 1. A model with an output of bfloat16 has at least ``bfloat16.STEP``.

    Raises:
        ModelNotFound: the model does not exist.
        VersionRefused: the version has its own golden samples, cannot be loaded, does not run with the samples,
            or answers something else; nothing is written then.
        BackendFailed: the runtime failed on a sample.
        OSError: the samples cannot be written.
    """
    if not 0 < tolerance <= LARGEST_TOLERANCE:
        raise VersionRefused(f"the tolerance is {tolerance:g}; it must be above 0 and at most {LARGEST_TOLERANCE:g}")
    place = loader.places.of(name)
    directory = place.version_directory(version)
    if place.file is None and layout_of(directory) is not Layout.FOREIGN:
        raise VersionRefused(f"{directory} has golden samples of its own, and they are replayed at every load")

    def find(_: str, files: VersionFiles) -> Callable[[ModelSpec], Samples] | None:
        if given is None:
            return stored(store)(name, files)

        def fitting(spec: ModelSpec) -> Samples:
            inputs, outputs = given.tensors(spec)
            samples = Samples(inputs, outputs, _tolerances(tolerance, outputs, spec))
            if (golden := samples.golden(inputs, outputs)) is not None:
                _check(golden)
            return samples

        return fitting

    opened = replace(loader, find_samples=find, require_verified=False).open(name, version)
    try:
        recorded = opened.contract.golden is None
        golden = opened.contract.golden or _recorded(opened, tolerance)
        _check(golden)
        difference = max(_replayed(golden, opened))
    finally:
        close_all(opened.placed)
    if given is None and not recorded:
        return Verification(golden.rows, difference, recorded, store.path(name, opened.digest))
    path = store.write(name, opened.digest, _single(golden) if opened.contract.is_whole else golden)
    return Verification(golden.rows, difference, recorded, path)


def _recorded(opened: Opened, tolerance: float) -> Golden:
    """The answers of the version itself, each instance alone."""
    inputs, backend = opened.contract.samples, opened.placed[0].backend
    if inputs is None:
        raise VersionRefused(f"{opened.contract.alone}; give samples that run")
    names = [tensor.name for tensor in opened.contract.spec.outputs]
    found = [backend.run(take_rows(inputs, row, row + 1)) for row in range(row_count(inputs))]
    if depends := shapes_depend(found):
        raise VersionRefused(f"{depends}: samples whose answers have the same shape are required (--samples)")
    answers = join_rows(found)
    outputs = {name: answers[name] for name in names}
    return Golden(inputs=inputs, outputs=outputs, tolerance=_tolerances(tolerance, outputs, opened.contract.spec))


def _replayed(golden: Golden, opened: Opened) -> list[float]:
    """The largest difference of each instance, in batches as they will run."""
    rows = min(opened.assembly.gate(opened.contract).max_batch_size, REPLAY_ROWS, golden.rows)
    return [
        replay(golden, each.backend.run, batch_size=rows, provider=each.backend.provider, than=opened.contract.than)
        for each in opened.placed
    ]


def _check(golden: Golden) -> None:
    try:
        golden.check(minimum_rows=1)
    except ValueError as error:
        raise VersionRefused(f"the samples are not used: {error}") from error


def _tolerances(tolerance: float, outputs: Tensors, spec: ModelSpec) -> Mapping[str, float]:
    """At least one step of bfloat16 for a model with such an output, which batches may round in the other direction."""
    if any(tensor.is_bfloat16 for tensor in spec.outputs):
        tolerance = max(tolerance, STEP)
    return {"default": tolerance * magnitude(outputs)}


def _single(golden: Golden) -> Golden:
    """Samples that are whole requests of one instance, as single instances."""

    def first(tensors: Mapping[str, Array]) -> dict[str, Array]:
        for name, values in tensors.items():
            if values.shape[1] != 1:
                raise VersionRefused(f"the answer to one instance has {values.shape[1]} rows of {name!r}")
        return {name: values[:, 0] for name, values in tensors.items()}

    return replace(golden, inputs=first(golden.inputs), outputs=first(golden.outputs))
