"""Samples of a version of another tool: where they are, and their expected outputs."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from app.contract.golden import Golden
from app.contract.model_spec import ModelSpec
from app.contract.version_files import VersionFiles
from app.lifecycle.loading.version_contract import check_samples
from app.repository.verified_samples import VerifiedSamples
from app.types import Tensors


@dataclass(frozen=True)
class Samples:
    """Single instances, and the known answers.

    Attributes:
        inputs: input name -> (rows, *shape).
        outputs: output name -> (rows, *shape); empty if the answers are not known.
        tolerance: as in ``Golden``.
    """

    inputs: Tensors
    outputs: Tensors
    tolerance: Mapping[str, float]

    def golden(self, inputs: Tensors, outputs: Tensors) -> Golden | None:
        """Golden samples of these tensors; None if the answers are not known."""
        return Golden(inputs=inputs, outputs=outputs, tolerance=self.tolerance) if outputs else None


# Of a model and its files; the samples are then converted to the contract, or refused.
FindSamples = Callable[[str, VersionFiles], Callable[[ModelSpec], Samples] | None]


def no_samples(name: str, files: VersionFiles) -> None:
    """There are no samples."""


def stored(store: VerifiedSamples) -> FindSamples:
    """Finds the samples that ``python -m app verify`` has written into the state directory.

    Raises when it is called:
        VersionRefused: the file is damaged, or does not fit the contract.
    """

    def find(name: str, files: VersionFiles) -> Callable[[ModelSpec], Samples] | None:
        golden = store.read(name, files.digest)
        if golden is None:
            return None
        path = store.path(name, files.digest)

        def fitting(spec: ModelSpec) -> Samples:
            check_samples(path, "input", golden.inputs, spec.inputs, says="the model has")
            check_samples(path, "output", golden.outputs, spec.outputs, says="the model has")
            return Samples(golden.inputs, golden.outputs, golden.tolerance)

        return fitting

    return find
