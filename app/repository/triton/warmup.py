"""model_warmup of config.pbtxt: inputs that are known to run, as zeros, random values or from files in NAME/warmup/.

Source: Triton, model configuration (ModelWarmup): a file contains one instance as raw bytes, strings with lengths.
"""

from math import prod
from pathlib import Path

import numpy as np

from app.contract.dtypes import NAMES, DType, numpy_dtype
from app.contract.files.regular import read_file, shown
from app.contract.manifest import is_inside
from app.contract.strings import split_prefixed, string_array
from app.contract.tensor_spec import LARGEST_INSTANCE_BYTES
from app.errors import VersionRefused
from app.repository.triton import WARMUP_DIRECTORY
from app.repository.triton import config_pb2 as pb
from app.types import Array

# Rows that are generated from the samples; several of equal shapes are repeated in turn.
ROWS = 8
_DTYPES: dict[str, DType] = {names.triton: dtype for dtype, names in NAMES.items()}


def warmup_rows(config: pb.ModelConfig, model_directory: Path) -> dict[str, Array] | None:
    """Input name -> (rows, *dims); None without model_warmup. ``batch_size`` and ``count`` have no effect.

    Samples with other inputs or shapes than the first are left out.

    Raises:
        VersionRefused: names the sample, the input and the rule that it breaks.
    """
    stated = list(config.model_warmup)
    if not stated:
        return None
    for sample in stated:
        if not sample.inputs:
            raise VersionRefused(f"model_warmup {shown(sample.name)!r} has no inputs")
    alike = [sample for sample in stated if _shapes(sample) == _shapes(stated[0])]
    rng = np.random.default_rng(0)
    rows = [_row(alike[index % len(alike)], rng, model_directory) for index in range(ROWS)]
    return {name: _stacked([row[name] for row in rows]) for name in rows[0]}


def _shapes(sample: pb.ModelWarmup) -> dict[str, tuple[object, ...]]:
    return {name: (each.data_type, *each.dims) for name, each in sample.inputs.items()}


def _row(sample: pb.ModelWarmup, rng: np.random.Generator, model_directory: Path) -> dict[str, Array]:
    return {
        name: _values(f"model_warmup {shown(sample.name)!r}, input {shown(name)!r}", each, rng, model_directory)
        for name, each in sample.inputs.items()
    }


def _stacked(rows: list[Array]) -> Array:
    if rows[0].dtype.kind != "O":
        return np.stack(rows)
    return string_array([each for row in rows for each in row.ravel()], (len(rows), *rows[0].shape))


def _values(what: str, stated: pb.ModelWarmup.Input, rng: np.random.Generator, model_directory: Path) -> Array:
    """One instance."""
    type_name, dims = pb.DataType.Name(stated.data_type), list(stated.dims)
    dtype = _DTYPES.get(type_name)
    if dtype is None:
        raise VersionRefused(f"{what} is a {type_name}; tensors of {', '.join(_DTYPES)} are served")
    if any(size < 1 for size in dims):
        raise VersionRefused(f"{what} has dims {dims}; each is at least 1")
    itemsize = numpy_dtype(dtype).itemsize
    if (nbytes := itemsize * prod(dims)) > LARGEST_INSTANCE_BYTES:
        raise VersionRefused(f"{what} has {nbytes} bytes; at most {LARGEST_INSTANCE_BYTES}")
    which = stated.WhichOneof("input_data_type")
    if which is None:
        raise VersionRefused(f"{what}: state zero_data, random_data or input_data_file")
    if which == "input_data_file":
        return _from_file(what, stated.input_data_file, dtype, dims, model_directory)
    is_random, kind = which == "random_data", numpy_dtype(dtype).kind
    whole = rng.integers(0, 2 if kind == "b" else 10, dims) if is_random else np.zeros(dims, np.int64)
    if kind == "O":
        return string_array([b"%d" % each if is_random else b"" for each in whole.ravel()], tuple(dims))
    return np.asarray(rng.normal(size=dims) if is_random and kind == "f" else whole).astype(dtype)


def _from_file(what: str, file: str, dtype: DType, dims: list[int], model_directory: Path) -> Array:
    if not is_inside(file):
        raise VersionRefused(f"{what}: input_data_file is {shown(file)!r}; name a file in {WARMUP_DIRECTORY}/")
    path = model_directory / WARMUP_DIRECTORY / file
    try:
        data = read_file(path, LARGEST_INSTANCE_BYTES)
    except OSError as error:
        raise VersionRefused(f"{what}: {path}: {error.strerror}") from error
    if dtype == "string":
        return string_array(_strings(f"{what}: {path}", data, prod(dims)), tuple(dims))
    expected = numpy_dtype(dtype).itemsize * prod(dims)
    if len(data) != expected:
        raise VersionRefused(f"{what}: {path} has {len(data)} bytes; dims {dims} of {dtype} are {expected}")
    return np.frombuffer(data, numpy_dtype(dtype).newbyteorder("<")).astype(dtype).reshape(dims)


def _strings(what: str, data: bytes, count: int) -> list[bytes]:
    """Exactly ``count`` strings; see ``length_prefixed``."""
    refused = VersionRefused(f"{what} does not hold {count} strings, each with its length in front")
    try:
        found, end = split_prefixed(data, most=count)
    except ValueError as error:
        raise refused from error
    if len(found) != count or end != len(data):
        raise refused
    return found
