"""Samples that an operator gives to a version of another tool: arrays of an .npz file, as its contract takes them."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from app.contract.files.npz import NUMBERS, STRINGS, BadArchive, read_npz
from app.contract.files.regular import read_file, shown
from app.contract.golden import GOLDEN_LIMIT_BYTES, INFLATED_LIMIT_BYTES, MAXIMUM_ROWS, check_strings
from app.contract.model_spec import ModelSpec
from app.contract.strings import encoded
from app.contract.tensor_spec import TensorSpec
from app.errors import VersionRefused
from app.types import Array

_INPUT, _OUTPUT = "input:", "output:"
# Kind of a tensor -> kinds of arrays, whose values must then fit.
_ACCEPTED = {"f": "fiu", "i": "iu", "u": "iu", "b": "b", "O": STRINGS}


@dataclass(frozen=True)
class GivenSamples:
    """Arrays by name.

    Attributes:
        path: of the file.
        arrays: the name of a tensor, or "input:" or "output:" and the name -> (rows, *shape). A model without a batch
            dimension may be given a single request, (*shape), and one value of an optional input for all samples.
    """

    path: Path
    arrays: Mapping[str, Array]

    @classmethod
    def read(cls, path: Path) -> "GivenSamples":
        """The arrays of an .npz file.

        Raises:
            VersionRefused: the file is missing, too large, or not such an archive.
        """
        try:
            data = read_file(path, GOLDEN_LIMIT_BYTES)
            return cls(path, read_npz(data, limit_bytes=INFLATED_LIMIT_BYTES, kinds=NUMBERS + STRINGS))
        except OSError as error:
            raise VersionRefused(f"{shown(path)}: {error.strerror}") from error
        except BadArchive as error:
            raise VersionRefused(f"{shown(path)}: {error}") from error

    def tensors(self, spec: ModelSpec) -> tuple[dict[str, Array], dict[str, Array]]:
        """Inputs and expected outputs, name -> (rows, *shape) in the dtypes of a contract; outputs may be missing.

        Raises:
            VersionRefused: names the array that is missing, unknown or of another shape or dtype.
        """
        inputs: dict[str, Array] = {}
        outputs: dict[str, Array] = {}
        left = dict(self.arrays)
        for kind, tensors, found in ((_INPUT, spec.inputs, inputs), (_OUTPUT, spec.outputs, outputs)):
            for tensor in tensors:
                for key in (kind + tensor.name, tensor.name):
                    if key in left:
                        found[tensor.name] = self._fitted(key, left.pop(key), tensor)
                        break
        where = shown(self.path)
        known = f"the inputs are {[t.name for t in spec.inputs]}, the outputs {[t.name for t in spec.outputs]}"
        if left:
            raise VersionRefused(f"{where}: {shown(min(left))!r} is not a tensor of the model; {known}")
        if given := spec.whole & inputs.keys():
            raise VersionRefused(
                f"{where} has values of {min(given)!r}, which has no batch dimension; leave it out: samples run with "
                "its default"
            )
        for tensor in spec.required:
            if tensor.name not in inputs:
                raise VersionRefused(f"{where} has no array {tensor.name!r}; {known}")
        for tensor in spec.outputs:
            if outputs and tensor.name not in outputs:
                raise VersionRefused(f"{where} has answers, but no array {tensor.name!r}; {known}")
        rows = max(map(len, (*inputs.values(), *outputs.values())))
        for tensor in spec.inputs:
            # Of a model without a batch dimension, one value of an optional input is for all samples.
            if tensor.optional and not spec.batched and len(inputs.get(tensor.name, ())) == 1:
                inputs[tensor.name] = np.repeat(inputs[tensor.name], rows, axis=0)
        counts = {name: len(values) for part in (inputs, outputs) for name, values in part.items()}
        if len(set(counts.values())) != 1 or not 1 <= min(counts.values()) <= MAXIMUM_ROWS:
            raise VersionRefused(f"{where} has {counts} rows; as many of each are required, 1 to {MAXIMUM_ROWS}")
        return inputs, outputs

    def _check_strings(self) -> None:
        try:
            check_strings(sum(values.size for values in self.arrays.values() if values.dtype.kind in STRINGS))
        except ValueError as error:
            raise VersionRefused(f"{shown(self.path)}: {error}") from error

    def _fitted(self, key: str, values: Array, tensor: TensorSpec) -> Array:
        where = f"{shown(self.path)}: {shown(key)!r}"
        if not tensor.batched and values.ndim == len(tensor.shape):
            values = values[np.newaxis]
        sizes = values.shape[1:]
        fits = values.ndim == len(tensor.shape) + 1 and all(
            stated in (-1, size) for size, stated in zip(sizes, tensor.shape, strict=True)
        )
        if not fits or 0 in values.shape:
            raise VersionRefused(
                f"{where} has shape {values.shape}; expected rows of {tensor.instance_in_words}, one or more"
            )
        dtype = tensor.numpy_dtype
        if values.dtype.kind not in _ACCEPTED[dtype.kind]:
            raise VersionRefused(f"{where} holds {values.dtype}; expected {tensor.instance_in_words}")
        if tensor.is_string:
            self._check_strings()
            return encoded(values.astype(object))
        with np.errstate(over="ignore"):
            cast = values.astype(dtype)
        if dtype.kind == "f":
            is_changed = bool((np.isinf(cast) & np.isfinite(values)).any())
        else:
            is_changed = not np.array_equal(cast, values)
        if is_changed:
            raise VersionRefused(f"{where} holds values that {tensor.dtype} cannot hold")
        return cast
