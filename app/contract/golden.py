"""golden.npz: inputs with the outputs of Keras itself, replayed at every load.

The file contains ``input:NAME`` and ``output:NAME`` arrays with the same number of rows, ``length:NAME`` with the
number of valid elements of each row where an input is padded, and a JSON document ``meta`` (uint8 text) with the
tolerance per execution provider and the raw samples' expected labels. Raw samples are ``raw:FILE`` byte arrays. Of
strings ``input:NAME`` and ``output:NAME`` hold the lengths, and ``strings:input:NAME`` the bytes of all of them.
"""

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from app.contract.files.npz import read_npz
from app.contract.files.regular import read_file, shown
from app.contract.strings import packed, unpacked
from app.errors import VersionRefused

GOLDEN_FILE = "golden.npz"
GOLDEN_LIMIT_BYTES = 64 * 2**20
INFLATED_LIMIT_BYTES = 256 * 2**20
MINIMUM_ROWS = 64
# With a maximum batch size of 1, a replay takes one backend call per row.
MAXIMUM_ROWS = 4096
MOST_RAW_SAMPLES = 64
# In all tensors together: each is an object, which the interpreter makes and frees by itself.
MOST_SAMPLE_STRINGS = 2**20
META_LIMIT_BYTES = 2**20
# Largest tolerance for any provider and any file: ten times the training package's tolerance for the
# least exact provider (TensorRT), for answers of magnitude 1. It grows in proportion for larger answers.
LARGEST_TOLERANCE = 1e-2

Array = npt.NDArray[Any]


@dataclass(frozen=True, kw_only=True)
class RawSample:
    """An encoded image or a text as a client would send it, and the label that it must get.

    Attributes:
        name: file name whose suffix gives the media type: .png, .jpg or .txt.
        data: the body.
        label: first label of ``:classify``.
    """

    name: str
    data: bytes
    label: str


@dataclass(frozen=True, kw_only=True)
class Golden:
    """Golden samples of one version.

    Attributes:
        inputs: input name -> (rows, *shape); inputs of variable length are padded with 0 after the row.
        lengths: input name -> int32 (rows,), only for inputs of variable length.
        outputs: output name -> (rows, *shape), computed by Keras, each row on its own and unpadded.
        tolerance: execution provider name -> largest absolute difference allowed; key "default" for the others.
        raw: encoded samples.
    """

    inputs: Mapping[str, Array]
    outputs: Mapping[str, Array]
    lengths: Mapping[str, Array] = field(default_factory=dict)
    tolerance: Mapping[str, float]
    raw: tuple[RawSample, ...] = ()

    @property
    def rows(self) -> int:
        """Number of samples."""
        return len(next(iter(self.inputs.values())))

    def row(self, index: int) -> dict[str, Array]:
        """Sample ``index`` as a batch of one, without padding."""
        sample = {}
        for name, values in self.inputs.items():
            one = values[index : index + 1]
            sample[name] = one[:, : int(self.lengths[name][index])] if name in self.lengths else one
        return sample

    def tolerance_for(self, provider: str) -> float:
        """Largest absolute difference allowed on ``provider``, e.g. "CPUExecutionProvider"."""
        return self.tolerance.get(provider, self.tolerance["default"])

    def tolerances(self, provider: str) -> dict[str, float]:
        """Output name -> largest absolute difference allowed on ``provider``; 0 for outputs without fractions.

        The file states one for all outputs, in proportion to the largest answer; each output gets its proportion.
        """
        largest = self.tolerance_for(provider) / magnitude(self.outputs)
        return {
            name: largest * magnitude({name: values}) if values.dtype.kind == "f" else 0.0
            for name, values in self.outputs.items()
        }

    def write(self, directory: Path) -> None:
        """Write golden.npz to ``directory``."""
        (directory / GOLDEN_FILE).write_bytes(self.to_bytes())

    def to_bytes(self) -> bytes:
        """The content of golden.npz; equal samples give equal bytes."""
        meta = {
            "tolerance": dict(self.tolerance),
            "raw": [{"name": sample.name, "label": sample.label} for sample in self.raw],
        }
        arrays: dict[str, Array] = {"meta": np.frombuffer(json.dumps(meta, sort_keys=True).encode(), np.uint8)}
        for kind, tensors in (("input", self.inputs), ("length", self.lengths), ("output", self.outputs)):
            for name, values in tensors.items():
                arrays |= _members(f"{kind}:{name}", values)
        arrays |= {f"raw:{sample.name}": np.frombuffer(sample.data, np.uint8) for sample in self.raw}
        buffer = io.BytesIO()
        np.savez_compressed(buffer, allow_pickle=False, **arrays)
        return buffer.getvalue()

    @classmethod
    def read(cls, directory: Path) -> "Golden":
        """Read golden.npz from ``directory``.

        Raises:
            VersionRefused: the file is missing, or see ``parse``.
        """
        path = directory / GOLDEN_FILE
        try:
            return cls.parse(path, read_file(path, GOLDEN_LIMIT_BYTES))
        except OSError as error:
            raise VersionRefused(f"{path}: {error.strerror}") from error

    @classmethod
    def parse(cls, path: Path, data: bytes, *, minimum_rows: int = MINIMUM_ROWS) -> "Golden":
        """Golden samples from the bytes of golden.npz.

        Args:
            path: origin of the bytes, for messages.
            data: at most ``GOLDEN_LIMIT_BYTES``; at most ``INFLATED_LIMIT_BYTES`` inflated.
            minimum_rows: fewest samples.

        Raises:
            VersionRefused: damaged or too large; fewer than ``minimum_rows`` or more than 4096; arrays with different
                row counts, without numbers, or with NaN or infinity; no default tolerance, or one that is negative, not
                a number, or above the service's own limit.
        """
        try:
            arrays = read_npz(data, limit_bytes=INFLATED_LIMIT_BYTES)
            if (nbytes := arrays["meta"].nbytes) > META_LIMIT_BYTES:
                raise ValueError(f"meta has {nbytes} bytes; at most {META_LIMIT_BYTES} are read")
            check_strings(sum(arrays[name].size for name in arrays if f"strings:{name}" in arrays))
            meta = json.loads(arrays.pop("meta").tobytes())
            golden = cls(
                inputs=_section(arrays, "input"),
                lengths=_section(arrays, "length"),
                outputs=_section(arrays, "output"),
                tolerance={str(name): float(value) for name, value in meta["tolerance"].items()},
                raw=tuple(
                    RawSample(name=raw["name"], label=raw["label"], data=arrays[f"raw:{raw['name']}"].tobytes())
                    for raw in meta["raw"]
                ),
            )
        except Exception as error:  # zip, zlib, numpy and JSON raise different errors for a damaged file
            raise VersionRefused(f"{path}: not a golden file: {error}") from error
        try:
            golden.check(minimum_rows)
        except ValueError as error:
            raise VersionRefused(f"{path}: {error}") from error
        return golden

    def check(self, minimum_rows: int = MINIMUM_ROWS) -> None:
        """Raise a ValueError that names the broken rule."""
        parts = [*self.inputs.items(), *self.lengths.items(), *self.outputs.items()]
        counts = {len(values) if values.ndim else 0 for _, values in parts}
        if not self.inputs or not self.outputs or len(counts) != 1 or min(counts) < minimum_rows:
            raise ValueError(f"expected inputs and outputs with equally many rows, at least {minimum_rows}")
        if self.rows > MAXIMUM_ROWS:
            raise ValueError(f"it has {self.rows} rows; at most {MAXIMUM_ROWS} are replayed")
        if len(self.raw) > MOST_RAW_SAMPLES:
            raise ValueError(f"it has {len(self.raw)} raw samples; at most {MOST_RAW_SAMPLES} are sent")
        check_strings(sum(values.size for _, values in parts if values.dtype.kind == "O"))
        for name, values in parts:
            if not values.size:
                raise ValueError(f"{shown(name)!r} holds nothing")
        for name, values in self.outputs.items():
            if values.dtype.kind == "f" and not np.isfinite(values).all():
                raise ValueError(f"the expected output {shown(name)!r} holds NaN or infinity")
        for name, lengths in self.lengths.items():
            self._check_lengths(name, lengths)
        if "default" not in self.tolerance:
            raise ValueError("it states no default tolerance")
        limit = LARGEST_TOLERANCE * magnitude(self.outputs)
        for provider, tolerance in self.tolerance.items():
            if not 0 <= tolerance <= limit:  # nor is NaN
                raise ValueError(
                    f"it states a tolerance of {tolerance:g} for {shown(provider)!r}; 0 to {limit:g} is accepted for "
                    f"these answers"
                )

    def _check_lengths(self, name: str, lengths: Array) -> None:
        padded = self.inputs.get(name)
        if padded is None or padded.ndim < 2 or lengths.ndim != 1 or lengths.dtype.kind not in "iu":
            raise ValueError(f"the lengths of {shown(name)!r} are not whole numbers, one for each row of an input")
        if lengths.min() < 1 or lengths.max() > padded.shape[1]:
            raise ValueError(f"the lengths of {shown(name)!r} are not between 1 and {padded.shape[1]}")


def check_strings(count: int) -> None:
    """Refuse samples with more strings than are read, with a ValueError."""
    if count > MOST_SAMPLE_STRINGS:
        raise ValueError(f"it has {count} strings; at most {MOST_SAMPLE_STRINGS} are read")


def magnitude(outputs: Mapping[str, Array]) -> float:
    """Largest absolute value of answers with fractions, at least 1: float32 rounds larger numbers in proportion."""
    floats = [values for values in outputs.values() if values.dtype.kind == "f"]
    return max([1.0, *(abs(float(end)) for values in floats for end in (values.min(), values.max()))])


def _members(key: str, values: Array) -> dict[str, Array]:
    """The arrays of the file that make up a tensor."""
    if values.dtype.kind != "O" or not all(isinstance(each, bytes) for each in values.flat):
        return {key: values}
    lengths, content = packed(values)
    return {key: lengths, f"strings:{key}": np.frombuffer(content, np.uint8)}


def _section(arrays: Mapping[str, Array], kind: str) -> dict[str, Array]:
    """The tensors of one kind: name -> values."""
    section = {}
    for key, values in arrays.items():
        if key.startswith(f"{kind}:"):
            content = arrays.get(f"strings:{key}")
            section[key.split(":", 1)[1]] = values if content is None else unpacked(values, content.tobytes())
    return section
