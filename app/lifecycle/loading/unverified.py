"""A version without golden samples: inputs are generated, and its answers must be consistent.

Strings are numbers in digits, or else images: many graphs decode them.

The right answers are not known. What can be checked is that they do not depend on the batch: the same input
gives the same answer twice, alone and in a batch, in any order. Otherwise each request runs as it was sent.
"""

import io
from collections.abc import Callable, Iterator, Sequence
from itertools import product

import numpy as np
from PIL import Image

from app.contract.bfloat16 import STEP
from app.contract.drawn import digits, drawn
from app.contract.extent import Extent
from app.contract.model_spec import ModelSpec
from app.errors import BackendFailed, VersionRefused
from app.runtime.backend import Backend, join_rows, row_count, take_rows
from app.types import Array, Tensors

# Fewer if an instance is large: see ``Extent``.
ROWS = 8
# Tried in this order until the graph runs: for dimensions that vary, and one more than the largest whole number.
SIZES = (8, 1, 16, 32, 64, 224)
LIMITS = (10, 2)
IMAGE_SIDE = 32
# Largest difference of an answer in a batch from the answer alone; one step of bfloat16. Whole numbers must be equal.
RELATIVE, ABSOLUTE = 1e-5, 1e-6


def examine(
    backend: Backend, spec: ModelSpec, *, may_batch: bool, known: Tensors | None = None, whose: str = "model_warmup"
) -> tuple[Tensors | None, str]:
    """Run generated inputs, or those that are known. Blocks. Optional inputs have their defaults unless they are known.

    Args:
        backend: of the version.
        spec: its contract.
        may_batch: whether to try a batch, too.
        known: input name -> (rows, *shape), to be run in place of generated inputs.
        whose: their source, for messages.

    Returns:
        Input name -> (rows, *shape), None if the graph runs with none of them; and why instances must not share a
        batch, empty if they may.

    Raises:
        VersionRefused: the known inputs do not fit the contract, or the graph does not run with them.
    """
    if known is not None:
        _check_known(spec, known, whose)
    sizes = _sizes(spec)
    if known is None and not sizes:
        extent = _instance(spec, size=1)
        fewest = f"{_fewest_rows(spec)} must fit into {extent.limit_in_words}"
        return None, f"no input can be generated: an instance has {extent.in_words}; {fewest}"
    error = BackendFailed("")
    for samples in _tried(spec, sizes) if known is None else [known]:
        try:
            answers = [backend.run(take_rows(samples, row, row + 1)) for row in range(row_count(samples))]
        except BackendFailed as failed:
            error = failed
        else:
            return samples, _why_alone(backend, spec, samples, answers) if may_batch else ""
    if known is not None:
        raise VersionRefused(f"the graph does not run with the samples of {whose}: {error.message}")
    return None, f"no generated input runs: {error.message}"


def _check_known(spec: ModelSpec, known: Tensors, whose: str) -> None:
    inputs = {tensor.name: tensor for tensor in spec.inputs}
    if not spec.required_names <= known.keys() <= inputs.keys():
        raise VersionRefused(f"{whose} has the inputs {sorted(known)}, and the model {sorted(inputs)}")
    for name, values in known.items():
        tensor, sizes = inputs[name], values.shape[1:]
        fits = len(sizes) == len(tensor.shape) and all(
            stated in (-1, size) for size, stated in zip(sizes, tensor.shape, strict=True)
        )
        if values.dtype != tensor.numpy_dtype or not fits:
            raise VersionRefused(
                f"{whose} has {values.dtype} of shape {sizes} for {name!r}; the model takes {tensor.instance_in_words}"
            )


def _instance(spec: ModelSpec, *, size: int) -> Extent:
    """Of the inputs of one instance whose dimensions that vary have that size."""
    return sum((tensor.extent(size) for tensor in spec.required), Extent())


def _fewest_rows(spec: ModelSpec) -> int:
    """How many instances are compared at least.

    If one alone fits, two never share a batch, unless sizes vary: smaller ones may.
    """
    return 2 if any(tensor.is_variable for tensor in spec.required) else 1


def _sizes(spec: ModelSpec) -> list[int]:
    """The sizes to try of which enough instances fit into the samples."""
    tried = SIZES if any(tensor.is_variable for tensor in spec.required) else SIZES[:1]
    return [size for size in tried if _instance(spec, size=size).possible_rows >= _fewest_rows(spec)]


def _tried(spec: ModelSpec, sizes: list[int]) -> Iterator[Tensors]:
    """Inputs to try, in this order."""
    for size, limit in product(sizes, LIMITS):
        yield generated(spec, size=size, limit=limit)
    if any(tensor.is_string for tensor in spec.required):
        for size, limit in product(sizes, LIMITS):
            yield generated(spec, size=size, limit=limit, string=_png)


def generated(spec: ModelSpec, *, size: int, limit: int, string: Callable[[int], bytes] = digits) -> Tensors:
    """Rows of distinct inputs, as many as fit: normally distributed numbers, or whole ones from 0 to ``limit`` - 1.

    Args:
        spec: of the model.
        size: of dimensions that vary.
        limit: see above.
        string: the string made of a whole number.
    """
    rng = np.random.default_rng(0)
    rows = min(ROWS, _instance(spec, size=size).possible_rows)
    shapes = {tensor.name: (rows, *(size if each == -1 else each for each in tensor.shape)) for tensor in spec.required}
    return {
        tensor.name: drawn(rng, tensor.numpy_dtype, shapes[tensor.name], limit=limit, string=string)
        for tensor in spec.required
    }


def _png(value: int) -> bytes:
    """A small image; each value has a colour."""
    file = io.BytesIO()
    Image.new("RGB", (IMAGE_SIDE, IMAGE_SIDE), (value * 40 % 256, value * 90 % 256, 128)).save(file, "png")
    return file.getvalue()


def _why_alone(backend: Backend, spec: ModelSpec, samples: Tensors, alone: Sequence[dict[str, Array]]) -> str:
    """Why instances must not share a batch; ``alone`` are the answers to each alone."""
    if depends := shapes_depend(alone):
        return depends
    answers = join_rows(list(alone))
    for how, order in (("in a batch", slice(None)), ("in reverse order", slice(None, None, -1))):
        batch = {name: np.ascontiguousarray(values[order]) for name, values in samples.items()}
        try:
            together = backend.run(batch)
        except BackendFailed as error:
            return f"a batch of {row_count(samples)} does not run: {error.message}"
        for name, values in together.items():
            relative = STEP if spec.output(name).is_bfloat16 else RELATIVE
            if not _agree(values, answers[name][order], relative=relative):
                return f"output {name!r} {how} differs from the answer to each instance alone"
    return ""


def shapes_depend(answers: Sequence[Tensors]) -> str:
    """Says so if the shape of an output depends on the values of the inputs, as that of NonZero; otherwise empty."""
    for name in answers[0]:
        if len({answer[name].shape for answer in answers}) > 1:
            return f"the shape of output {name!r} depends on the values of the inputs"
    return ""


def _agree(values: Array, expected: Array, *, relative: float) -> bool:
    if values.dtype.kind != "f":
        return np.array_equal(values, expected)
    return values.shape == expected.shape and np.allclose(
        values, expected, rtol=relative, atol=ABSOLUTE, equal_nan=True
    )
