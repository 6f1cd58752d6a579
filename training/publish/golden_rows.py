"""Golden inputs: drawn and written instances on which the model gives every class, and lengths from 1 to the maximum.

Nothing here is from a data set, unless the recipe publishes examples. A class that no drawing gets is reached by
gradient ascent from the nearest drawing, or, for texts, by exchanging words.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from app.contract.golden import RawSample
from app.contract.labels import labels_of
from app.contract.model_spec import ModelSpec
from app.contract.steps import ImagePreprocessing, TextPreprocessing
from app.contract.tensor_spec import TensorSpec
from app.contract.tokenizer import Tokenizer, pad
from training.data.array_inputs import FittedArrays
from training.data.table_columns import FittedColumns
from training.publish.ascent import value_range
from training.publish.golden_arrays import golden_arrays
from training.publish.golden_images import golden_images, raw_images
from training.publish.golden_search import ROWS, GoldenIncomplete, Judge
from training.publish.golden_table import golden_table
from training.publish.golden_texts import golden_texts, random_texts, raw_texts, spread

POOL = 640  # random instances to choose from

TOLERANCE: Mapping[str, float] = {
    # Float32 with another order of summation than Keras: the measured differences were at most 3e-6.
    "CPUExecutionProvider": 1e-5,
    # cuDNN and cuBLAS choose their kernels by batch size and device; float32 without TF32, so ten times the CPU's.
    "CUDAExecutionProvider": 1e-4,
    # TensorRT also fuses layers across nonlinearities; still float32.
    "TensorrtExecutionProvider": 1e-3,
    # For an unmeasured provider: float32 is expected, half precision would exceed it.
    "default": 1e-4,
}

Array = npt.NDArray[Any]
Rows = tuple[dict[str, Array], dict[str, Array], tuple[RawSample, ...]]


@dataclass(frozen=True, kw_only=True)
class Material:
    """What golden samples are made from.

    Attributes:
        texts: for text models: texts in the style of the data set. Without any, random words of the vocabulary are
            used in place.
        table: for tables: rows are drawn from these statistics.
        arrays: the same for named arrays.
        rows: for tables and named arrays: a structured array (rows,) of the data set that may be published; none by
            default.
        pictures: for image models: uint8 (rows, *shape), rows of the data set that may be published; none by default.
        every_class: whether a class that no sample shows is an error. A network for data of unknown kind may never
            give a rare class.
    """

    texts: Sequence[str] = ()
    pictures: npt.NDArray[np.uint8] | None = None
    table: FittedColumns | None = None
    arrays: FittedArrays | None = None
    rows: Array | None = None
    every_class: bool = True


def golden_rows(spec: ModelSpec, model: Any, tokenizer: Tokenizer | None, material: Material | None = None) -> Rows:
    """Golden inputs for a model, the same ones for equal models.

    Args:
        spec: signature; its preprocessing selects drawn images, written texts or random numbers.
        model: the trained tf_keras.Model.
        tokenizer: for text models.
        material: see there; by default drawings and random words, with every class.

    Returns:
        inputs: input name -> (64, *shape); texts are padded with 0 to the spec's maximum length.
        lengths: input name -> int32 (64,), for inputs of variable length: 1, the maximum and a spread between.
        raw: encoded images or texts with the label that the model gives them.

    Raises:
        GoldenIncomplete: names the class that the model never gives, if every class is required.
        ValueError: a text model without its tokenizer.
    """
    steps, material = spec.preprocessing, material or Material()
    if material.arrays:
        return golden_arrays(spec, model, material.arrays, material.rows), {}, ()
    if isinstance(steps, ImagePreprocessing):
        judge = Judge(spec, model, steps.input, labels_of(spec, None), every_class=material.every_class)
        inputs = golden_images(judge, material.pictures)
        return {steps.input: inputs}, {}, raw_images(judge, steps, material.pictures)
    if isinstance(steps, TextPreprocessing):
        if tokenizer is None:
            raise ValueError(f"{spec.name}: a text model requires its tokenizer")
        judge = Judge(spec, model, steps.input, labels_of(spec, tokenizer), every_class=material.every_class)
        texts = material.texts or random_texts(tokenizer)
        rows = golden_texts(judge, tokenizer, texts)
        lengths = np.array([len(row) for row in rows], np.int32)
        padded = pad(rows, length=steps.max_length)
        return {steps.input: padded}, {steps.input: lengths}, raw_texts(judge, tokenizer, texts)
    if material.table:
        return golden_table(spec, model, material.table, material.rows), {}, ()
    return _random_rows(spec, model, every_class=material.every_class)


def _random_rows(spec: ModelSpec, model: Any, *, every_class: bool) -> Rows:
    """Random numbers within the stated range; lengths from 1 to 64 if one varies.

    Every class is searched for if the model has one input of fixed shape.
    """
    rng = np.random.default_rng(20)
    inputs, lengths = {}, {}
    for tensor in spec.inputs:
        inputs[tensor.name] = _random(tensor, ROWS, rng)
        if tensor.is_variable:
            if tensor.shape[0] != -1 or tensor.shape.count(-1) != 1:
                raise GoldenIncomplete(f"{spec.name}: only the first dimension of {tensor.name!r} may vary")
            lengths[tensor.name] = np.array(spread(ROWS), np.int32)
            for row, length in enumerate(lengths[tensor.name]):
                inputs[tensor.name][row, length:] = 0
    if spec.postprocessing is not None and len(spec.inputs) == 1 and not lengths:
        [tensor] = spec.inputs
        judge = Judge(spec, model, tensor.name, labels_of(spec, None), every_class=every_class)
        inputs[tensor.name] = judge.cover(_random(tensor, POOL, rng))
    return inputs, lengths, ()


def _random(tensor: TensorSpec, rows: int, rng: np.random.Generator) -> Array:
    """(rows, *shape): uniform over the range if the tensor has one, else standard normal; ids are never padding."""
    shape = (rows, *(ROWS if size == -1 else size for size in tensor.shape))
    low, high = value_range(tensor)
    if tensor.numpy_dtype.kind == "f":
        bounded = np.isfinite(low) and np.isfinite(high)
        return (rng.uniform(low, high, shape) if bounded else rng.normal(size=shape)).astype(tensor.numpy_dtype)
    lowest = max(low, 1) if tensor.is_variable else low
    return rng.integers(int(lowest), int(high), shape, endpoint=True).astype(tensor.numpy_dtype)
