"""Golden inputs of an imported model: those that the user gives, or generated ones on which it runs."""

from collections.abc import Callable, Iterator, Mapping
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from app.contract.dtypes import numpy_dtype
from app.contract.files.npz import NUMBERS, STRINGS, BadArchive, read_npz
from app.contract.files.regular import read_file, shown
from app.contract.golden import GOLDEN_LIMIT_BYTES, INFLATED_LIMIT_BYTES, MAXIMUM_ROWS, MINIMUM_ROWS
from app.contract.model_spec import ModelSpec
from app.contract.steps import ImagePreprocessing, TextPreprocessing
from app.contract.strings import string_array
from app.contract.tensor_spec import TensorSpec
from app.errors import VersionRefused
from app.types import Tensors
from training.datasets.drawn import synthetic
from training.errors import SourceRefused
from training.importing.sources.source import in_short
from training.publish.golden_texts import spread

POOL = 256  # generated rows to choose from, so that many classes are shown
# For dimensions that vary, and one more than the largest whole number: tried in this order until the model runs.
SIZES = (8, 16, 1, 32, 64, 224)
LIMITS = (1000, 256, 10, 2)
# Distinct numbers of a large instance. They repeat within the window of deflate, so that the file stays small.
_DISTINCT = 4093
# Kind of an input -> kinds of samples, whose values must then fit.
_ACCEPTED = {"f": "fiub", "i": "iub", "u": "iub", "b": "b"}

Array = npt.NDArray[Any]


def read_samples(path: Path, spec: ModelSpec) -> dict[str, Array]:
    """Input name -> (rows, *shape) of an .npz file; fewer than 64 rows are repeated.

    Raises:
        SourceRefused: the file cannot be read, or names, shapes, dtypes, values or numbers of rows do not fit.
    """
    try:
        arrays = read_npz(
            read_file(path, GOLDEN_LIMIT_BYTES), limit_bytes=INFLATED_LIMIT_BYTES, kinds=NUMBERS + STRINGS
        )
    except OSError as error:
        raise SourceRefused(f"{shown(path)}: {error.strerror}") from error
    except (BadArchive, VersionRefused) as error:
        raise SourceRefused(f"{shown(path)}: {error}") from error
    expected = [tensor.name for tensor in spec.inputs]
    if set(arrays) != set(expected):
        raise SourceRefused(f"{shown(path)} has the arrays {sorted(arrays)}; the model requires {sorted(expected)}")
    samples = {tensor.name: _checked(path, tensor, arrays[tensor.name]) for tensor in spec.inputs}
    counts = {name: len(values) for name, values in samples.items()}
    if len(set(counts.values())) > 1:
        raise SourceRefused(f"{shown(path)}: the arrays have different numbers of rows: {counts}")
    rows = next(iter(counts.values()))
    if not 1 <= rows <= MAXIMUM_ROWS:
        raise SourceRefused(f"{shown(path)} has {rows} rows; 1 to {MAXIMUM_ROWS} are accepted")
    chosen = np.arange(max(rows, MINIMUM_ROWS)) % rows
    return {name: values[chosen] for name, values in samples.items()}


def _checked(path: Path, tensor: TensorSpec, values: Array) -> Array:
    """The values in the dtype of the input, if they fit it without loss."""
    where = f"{shown(path)}: {tensor.name!r}"
    fits = values.ndim == len(tensor.batch_shape) and all(
        size in {-1, real} for size, real in zip(tensor.shape, values.shape[1:], strict=True)
    )
    if not fits:
        raise SourceRefused(f"{where} has rows of shape {values.shape[1:]}; the model requires {tensor.in_words}")
    if tensor.is_string:
        if values.dtype.kind not in STRINGS:
            raise SourceRefused(f"{where} is {values.dtype}; the model requires strings (dtype S or U)")
        elements = [each.encode() if isinstance(each, str) else bytes(each) for each in values.ravel().tolist()]
        return string_array(elements, values.shape)
    if values.dtype.kind not in _ACCEPTED[tensor.numpy_dtype.kind]:
        raise SourceRefused(f"{where} is {values.dtype}; the model requires {tensor.dtype}")
    converted = values.astype(tensor.numpy_dtype)
    if values.dtype.kind in "iu" and not np.array_equal(converted, values):
        raise SourceRefused(f"{where} has values that do not fit {tensor.dtype}")
    if values.dtype.kind == "f" and not np.isfinite(converted).all():
        raise SourceRefused(f"{where} contains NaN or infinity, or values that do not fit {tensor.dtype}")
    low, high = tensor.minimum, tensor.maximum
    if (low is not None and converted.min() < low) or (high is not None and converted.max() > high):
        raise SourceRefused(
            f"{where} has values from {converted.min()} to {converted.max()}; {low} to {high} are allowed"
        )
    return converted


def lengths_of(spec: ModelSpec, samples: Tensors) -> dict[str, Array]:
    """For a text model: number of ids of each row before its padding.

    Raises:
        SourceRefused: a row has padding before or between its ids, or padding only.
    """
    step = spec.preprocessing
    if not isinstance(step, TextPreprocessing):
        return {}
    ids = samples[step.input]
    lengths = np.count_nonzero(ids, axis=1).astype(np.int32)
    inside = np.arange(ids.shape[1]) < lengths[:, None]
    if not lengths.all() or not np.array_equal(ids != 0, inside):
        raise SourceRefused(
            "--samples: token id 0 is padding; it comes only after the ids of a row, of which it has one"
        )
    return {step.input: lengths}


def generated(spec: ModelSpec) -> Iterator[dict[str, Array]]:
    """Input name -> (256, *shape) or fewer rows of large instances: candidates, until the model runs with one.

    Numbers with fractions are normally distributed; whole numbers are uniform, from 0 to some limit; images are half
    drawn and half noise; texts have lengths from 1 to the maximum.
    """
    step = spec.preprocessing
    if isinstance(step, TextPreprocessing):
        yield {step.input: _texts(spec.input(step.input), step)}
        return
    if isinstance(step, ImagePreprocessing):
        yield {step.input: _images(spec.input(step.input))}
        return
    varies = any(tensor.is_variable for tensor in spec.inputs)
    whole = any(tensor.numpy_dtype.kind in "iu" for tensor in spec.inputs)
    for size, limit in product(SIZES if varies else SIZES[:1], LIMITS if whole else LIMITS[:1]):
        rng = np.random.default_rng(20)
        rows = _pool_rows(spec, size)
        yield {tensor.name: _values(tensor, rows, size, limit, rng) for tensor in spec.inputs}


def _pool_rows(spec: ModelSpec, size: int) -> int:
    """As many rows as fit a sixteenth of the limit of golden samples, at least 64."""
    nbytes = sum(
        tensor.numpy_dtype.itemsize * int(np.prod([size if each == -1 else each for each in tensor.shape]))
        for tensor in spec.inputs
    )
    if nbytes * MINIMUM_ROWS > INFLATED_LIMIT_BYTES:
        raise SourceRefused(
            f"{MINIMUM_ROWS} golden inputs of {nbytes} bytes each exceed the limit of {INFLATED_LIMIT_BYTES} bytes"
        )
    return int(np.clip(INFLATED_LIMIT_BYTES // 16 // max(1, nbytes), MINIMUM_ROWS, POOL))


def _values(tensor: TensorSpec, rows: int, size: int, limit: int, rng: np.random.Generator) -> Array:
    sizes = [size if each == -1 else each for each in tensor.shape]
    count = int(np.prod(sizes))
    shape = (rows, min(count, _DISTINCT))
    if tensor.is_string:
        return string_array([b"text %d" % each for each in rng.integers(0, 1000, rows * count)], (rows, *sizes))
    kind = tensor.numpy_dtype.kind
    drawn = rng.normal(size=shape) if kind == "f" else rng.integers(0, 2 if kind == "b" else _top(tensor, limit), shape)
    places = np.arange(count) % shape[1]
    return drawn.astype(tensor.numpy_dtype)[:, places].reshape(rows, *sizes)


def _top(tensor: TensorSpec, limit: int) -> int:
    return min(limit, int(np.iinfo(numpy_dtype(tensor.dtype)).max) + 1)


def _images(tensor: TensorSpec) -> Array:
    rows = int(np.clip(INFLATED_LIMIT_BYTES // 16 // tensor.instance_bytes, MINIMUM_ROWS, POOL))
    rng = np.random.default_rng(20)
    noise = _values(tensor, rows, 1, 256, rng)
    height, width = tensor.shape[:2]
    for row, blob in enumerate(synthetic.coloured_blobs(rows // 2, seed=20)[0]):
        picture = Image.fromarray(blob).resize((width, height), Image.Resampling.BILINEAR)
        noise[row] = np.asarray(picture if len(tensor.shape) == 3 else picture.convert("L"))
    return noise


def _texts(tensor: TensorSpec, step: TextPreprocessing) -> Array:
    assert tensor.maximum is not None
    lengths = spread(step.max_length)
    ids = np.zeros((len(lengths), step.max_length), np.int32)
    rng = np.random.default_rng(20)
    for row, length in enumerate(lengths):
        ids[row, :length] = rng.integers(1, int(tensor.maximum), length, endpoint=True)
    return ids


def runnable(spec: ModelSpec, run: Callable[[Tensors], Tensors]) -> dict[str, Array]:
    """The first generated inputs that the model takes, one row at a time.

    Args:
        spec: the contract.
        run: the model itself, with the inputs of the contract.

    Raises:
        SourceRefused: it runs with none of them.
    """
    reason = ""
    for samples in generated(spec):
        try:
            lengths = lengths_of(spec, samples)
            for row in (0, -1):
                run(one(samples, lengths, range(len(next(iter(samples.values()))))[row]))
        except SourceRefused:
            raise
        except Exception as error:  # noqa: BLE001 - any exception of a library for an input that does not match the model
            reason = in_short(error)
        else:
            return samples
    raise SourceRefused(f"no generated input runs; give some with --samples. The last error: {reason}")


def one(samples: Mapping[str, Array], lengths: Mapping[str, Array], row: int) -> dict[str, Array]:
    """One row as a batch, without its padding."""
    batch = {name: values[row : row + 1] for name, values in samples.items()}
    return {name: values[:, : int(lengths[name][row])] if name in lengths else values for name, values in batch.items()}


def showing_classes(scores: Array) -> Array:
    """Indices of 64 rows of a pool, in which every class that the pool shows occurs, each about equally often.

    Args:
        scores: (rows, classes).
    """
    given = scores.argmax(axis=1)
    # The n-th row of each class comes before the n+1-th of any class.
    turns = np.array([int((given[:row] == label).sum()) for row, label in enumerate(given)])
    return np.sort(np.argsort(turns, kind="stable")[:MINIMUM_ROWS])
