"""model_warmup of config.pbtxt: inputs that are known to run, as zeros, random values or from files in NAME/warmup/.

Source: Triton, model configuration (ModelWarmup): a file contains one instance as raw bytes, strings with lengths.
"""

from dataclasses import dataclass
from itertools import cycle, islice
from math import prod
from pathlib import Path

import numpy as np

from app.contract.bfloat16 import BFLOAT16, widened
from app.contract.drawn import drawn
from app.contract.dtypes import NAMES, DType, numpy_dtype, wire_dtype
from app.contract.extent import Extent
from app.contract.files.regular import read_file, shown
from app.contract.manifest import is_inside
from app.contract.strings import split_prefixed, string_array
from app.contract.tensor_spec import LARGEST_INSTANCE_BYTES
from app.errors import VersionRefused
from app.repository.triton import WARMUP_DIRECTORY
from app.repository.triton import config_pb2 as pb
from app.types import Array

# Rows that are generated from the samples, several of equal shapes in turn. Fewer if a row is large: see ``Extent``.
ROWS = 8
_DTYPES: dict[str, DType] = {names.triton: dtype for dtype, names in NAMES.items()}


@dataclass(frozen=True)
class _Input:
    """An input of a sample, checked as far as it can be before it is made.

    Attributes:
        what: sample and input, for messages.
        dtype: of its elements.
        sizes: of one instance.
        is_random: random values; otherwise zeros.
        file: has the values, if they are neither.
        extent: of one instance.
    """

    what: str
    dtype: DType
    sizes: tuple[int, ...]
    is_random: bool
    file: Path | None
    extent: Extent


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
    shapes = _shapes(stated[0])
    alike = [sample for sample in stated if _shapes(sample) == shapes][:ROWS]
    samples = [_checked(sample, model_directory) for sample in alike]
    total, fitting = Extent(), []
    for sample, inputs in islice(cycle(zip(alike, samples, strict=True)), ROWS):
        extent = sum((each.extent for each in inputs.values()), Extent())
        total += extent
        if not extent.possible_rows:
            raise VersionRefused(
                f"model_warmup {shown(sample.name)!r} has {extent.in_words}; samples have at most "
                f"{extent.limit_in_words}"
            )
        if not total.possible_rows:
            break
        fitting.append(inputs)
    rng = np.random.default_rng(0)
    rows = [{name: _values(each, rng) for name, each in inputs.items()} for inputs in fitting]
    return {name: _stacked([row[name] for row in rows]) for name in rows[0]}


def _shapes(sample: pb.ModelWarmup) -> dict[str, tuple[object, ...]]:
    return {name: (each.data_type, *each.dims) for name, each in sample.inputs.items()}


def _checked(sample: pb.ModelWarmup, model_directory: Path) -> dict[str, _Input]:
    return {
        name: _input(f"model_warmup {shown(sample.name)!r}, input {shown(name)!r}", each, model_directory)
        for name, each in sample.inputs.items()
    }


def _stacked(rows: list[Array]) -> Array:
    if rows[0].dtype.kind != "O":
        return np.stack(rows)
    return string_array([each for row in rows for each in row.ravel()], (len(rows), *rows[0].shape))


def _input(what: str, stated: pb.ModelWarmup.Input, model_directory: Path) -> _Input:
    type_name, sizes = pb.DataType.Name(stated.data_type), tuple(stated.dims)
    dtype = _DTYPES.get(type_name)
    if dtype is None:
        raise VersionRefused(f"{what} is a {type_name}; tensors of {', '.join(_DTYPES)} are served")
    if any(size < 1 for size in sizes):
        raise VersionRefused(f"{what} has dims {list(sizes)}; each is at least 1")
    which = stated.WhichOneof("input_data_type")
    if which is None:
        raise VersionRefused(f"{what}: state zero_data, random_data or input_data_file")
    file, content_bytes = None, 0
    if which == "input_data_file":
        file = _file(what, stated.input_data_file, model_directory)
        try:
            content_bytes = file.stat().st_size
        except OSError as error:
            raise VersionRefused(f"{what}: {shown(file)}: {error.strerror}") from error
    extent = Extent.of(numpy_dtype(dtype), prod(sizes), content_bytes=content_bytes)
    if extent.nbytes > LARGEST_INSTANCE_BYTES:
        raise VersionRefused(f"{what} has {extent.nbytes} bytes; at most {LARGEST_INSTANCE_BYTES}")
    return _Input(what, dtype, sizes, which == "random_data", file, extent)


def _file(what: str, name: str, model_directory: Path) -> Path:
    if not is_inside(name):
        raise VersionRefused(f"{what}: input_data_file is {shown(name)!r}; name a file in {WARMUP_DIRECTORY}/")
    return model_directory / WARMUP_DIRECTORY / name


def _values(stated: _Input, rng: np.random.Generator) -> Array:
    """One instance."""
    if stated.file is not None:
        return _from_file(stated, stated.file)
    dtype = numpy_dtype(stated.dtype)
    if stated.is_random:
        return drawn(rng, dtype, stated.sizes, limit=2 if dtype.kind == "b" else 10)
    return np.full(stated.sizes, b"", dtype) if dtype.kind == "O" else np.zeros(stated.sizes, dtype)


def _from_file(stated: _Input, path: Path) -> Array:
    what, count = f"{stated.what}: {shown(path)}", prod(stated.sizes)
    try:
        data = read_file(path, stated.extent.nbytes if stated.dtype == "string" else LARGEST_INSTANCE_BYTES)
    except OSError as error:
        raise VersionRefused(f"{what}: {error.strerror}") from error
    if stated.dtype == "string":
        return string_array(_strings(what, data, count), stated.sizes)
    sent = wire_dtype(stated.dtype)
    if len(data) != (nbytes := count * sent.itemsize):
        raise VersionRefused(f"{what} has {len(data)} bytes; dims {list(stated.sizes)} of {stated.dtype} are {nbytes}")
    values = np.frombuffer(data, sent).reshape(stated.sizes)
    return widened(values) if stated.dtype == BFLOAT16 else values.astype(numpy_dtype(stated.dtype))


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
