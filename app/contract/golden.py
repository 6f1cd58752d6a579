"""golden.npz: inputs with the outputs that Keras itself gave for them, replayed at every load.

The file holds ``input:NAME`` and ``output:NAME`` arrays with the same number of rows, ``length:NAME`` with the
number of valid elements of each row where an input is padded, and a JSON document ``meta`` (uint8 text) with the
tolerance per execution provider and the raw samples' expected labels. Raw samples are ``raw:FILE`` byte arrays.
"""

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from app.errors import VersionRefused

GOLDEN_FILE = "golden.npz"
MINIMUM_ROWS = 64

Array = npt.NDArray[Any]


@dataclass(frozen=True, kw_only=True)
class RawSample:
    """An encoded image or a text as a client would send it, with the label it must get.

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

    def write(self, directory: Path) -> None:
        """Write golden.npz into ``directory``; equal samples give equal bytes."""
        meta = {
            "tolerance": dict(self.tolerance),
            "raw": [{"name": sample.name, "label": sample.label} for sample in self.raw],
        }
        arrays: dict[str, Array] = {"meta": np.frombuffer(json.dumps(meta, sort_keys=True).encode(), np.uint8)}
        arrays |= {f"input:{name}": values for name, values in self.inputs.items()}
        arrays |= {f"length:{name}": values for name, values in self.lengths.items()}
        arrays |= {f"output:{name}": values for name, values in self.outputs.items()}
        arrays |= {f"raw:{sample.name}": np.frombuffer(sample.data, np.uint8) for sample in self.raw}
        buffer = io.BytesIO()
        np.savez_compressed(buffer, allow_pickle=False, **arrays)
        (directory / GOLDEN_FILE).write_bytes(buffer.getvalue())

    @classmethod
    def read(cls, directory: Path) -> "Golden":
        """Read golden.npz from ``directory``.

        Raises:
            VersionRefused: missing, damaged, fewer than 64 rows, or arrays whose row counts differ.
        """
        path = directory / GOLDEN_FILE
        try:
            with np.load(path, allow_pickle=False) as file:
                arrays = {name: file[name] for name in file.files}
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
        except Exception as error:  # zip, zlib, numpy and JSON each raise their own at a damaged file
            raise VersionRefused(f"{path}: not a golden file: {error}") from error
        counts = {len(values) for part in (golden.inputs, golden.lengths, golden.outputs) for values in part.values()}
        if not golden.inputs or not golden.outputs or len(counts) != 1 or min(counts) < MINIMUM_ROWS:
            raise VersionRefused(f"{path}: wants inputs and outputs of equally many rows, at least {MINIMUM_ROWS}")
        if "default" not in golden.tolerance:
            raise VersionRefused(f"{path}: states no default tolerance")
        return golden


def _section(arrays: Mapping[str, Array], kind: str) -> dict[str, Array]:
    return {name.split(":", 1)[1]: values for name, values in arrays.items() if name.startswith(f"{kind}:")}
