"""The interface between the data plane and a runtime."""

from typing import Protocol

import numpy as np

from app.contract.strings import held_bytes
from app.errors import InvalidInput
from app.types import Array, Tensors


class Backend(Protocol):
    """One loaded model version. Methods block; run them in a worker thread unless measured to be cheaper.

    Engines and wrappers derive from it and override what they support.
    """

    @property
    def provider(self) -> str:
        """Execution provider in use, as ONNX Runtime names it, e.g. "CPUExecutionProvider"; or "TensorFlow"."""
        ...

    @property
    def runs_inline(self) -> bool:
        """Whether a short call may run on the event loop, because it computes in the thread that calls it."""
        return False

    @property
    def down_for_s(self) -> float:
        """Seconds for which every batch fails, because its process has ended too often; 0 if it can run batches."""
        return 0.0

    @property
    def process_bytes(self) -> int:
        """Resident memory of the process that runs the version, in bytes; 0 if it runs in this one."""
        return 0

    def limit_calls(self, seconds: float) -> float | None:
        """End every call that takes longer than ``seconds``, which may be infinite.

        Returns:
            Seconds after the limit by which such a call has ended; None if this backend cannot end calls.
        """
        return None

    def run(self, inputs: Tensors) -> dict[str, Array]:
        """Run one batch.

        Args:
            inputs: signature input name -> array, shape (batch, *instance_shape), dtype as the signature
                states, C-contiguous; every array has the same batch.

        Returns:
            Signature output name -> array, shape (batch, *output_shape); row i answers row i of the inputs.

        Raises:
            BackendFailed: the runtime raised, or an output has another batch size.
        """
        ...

    def free_spare(self, row: Tensors) -> None:
        """Free memory that larger batches took, and that a call with one row does not need; by default nothing.

        ONNX Runtime never frees what the first call took, so that this has to be one with few rows.

        Args:
            row: as for ``run``, with one row.

        Raises:
            BackendFailed: the runtime failed on the row.
        """
        return

    @property
    def has_gradients(self) -> bool:
        """Whether ``part_gradients`` can be asked."""
        return False

    def part_gradients(self, variants: Tensors, *, output: str, target: int) -> dict[str, Array]:
        """How much each part of an instance adds to one element of an output, by integrated gradients.

        It may run while ``run`` does, and does not delay it.

        Args:
            variants: signature input name -> (2 + parts, *instance_shape): the instance, the instance with all parts
                hidden, and with each part hidden alone.
            output: signature output name.
            target: the element of one row of the output.

        Returns:
            ``scores``: float64 (parts,), and ``difference``: float64 (), between the first two rows; the sum of the
            scores is near it.

        Raises:
            InvalidInput: the model cannot be differentiated, or this backend has no gradients.
            BackendFailed: the runtime ended or took too long.
        """
        raise InvalidInput(
            f"the model is run by {self.provider}, which has no gradients; 'gradients' takes versions that the backend "
            "savedmodel serves, the other methods all"
        )

    def close(self) -> None:
        """Free the memory of the version. No call is in progress."""
        ...


def row_count(tensors: Tensors) -> int:
    """Rows of a batch: the length of its first tensor."""
    return len(next(iter(tensors.values())))


def byte_count(tensors: Tensors) -> int:
    """Bytes of memory of all tensors."""
    nbytes = 0
    for values in tensors.values():
        nbytes += values.nbytes if values.dtype.kind != "O" else held_bytes(values)
    return nbytes


def take_rows(tensors: Tensors, start: int, stop: int) -> dict[str, Array]:
    """Rows ``start`` to ``stop`` (exclusive) of every tensor, as views."""
    return {name: values[start:stop] for name, values in tensors.items()}


def join_rows(parts: list[dict[str, Array]]) -> dict[str, Array]:
    """The rows of several batches, concatenated."""
    if len(parts) == 1:
        return parts[0]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
