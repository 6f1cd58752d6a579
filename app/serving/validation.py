"""Validates the decoded tensors of a request and converts them to the tensors of the signature."""

from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from app.contract.bfloat16 import LARGEST
from app.contract.model_spec import ModelSpec
from app.contract.steps import TextPreprocessing
from app.contract.strings import MOST_STRINGS
from app.contract.tensor_spec import TensorSpec
from app.contract.tokenizer import PADDING_ID
from app.errors import InvalidInput, TooLarge, quoted
from app.types import Array, Tensors

_LARGEST_UINT8 = 255
Limit = int | float


def conform(inputs: Tensors, spec: ModelSpec) -> dict[str, Array]:
    """Check names, shapes, range and finiteness; cast to the signature's dtypes.

    Args:
        inputs: name -> array (rows, *shape) of any numeric dtype, or of ``bytes``; JSON numbers arrive as int64 or
            float64. Without a batch dimension, (*shape). Optional inputs may be missing.
        spec: the contract of the model version.

    Returns:
        name -> C-contiguous array of the signature's dtype, all with the same number of rows, at least one; without a
        batch dimension, one row. An optional input that is missing stays so: the runtime takes the graph's default.

    Raises:
        InvalidInput: names the input, the instance, the value and the rule it breaks.
        TooLarge: more strings than a tensor may have.
    """
    expected = spec.inputs
    if not spec.batched:
        inputs = {name: values[np.newaxis] for name, values in inputs.items()}
    if len(inputs) == len(expected) == 1 and expected[0].name in inputs:  # nearly every request
        name = expected[0].name
        conformed = {name: _conform_tensor(inputs[name], expected[0])}
    else:
        conformed = _conform_several(inputs, spec)
    if isinstance(spec.preprocessing, TextPreprocessing):
        _check_text(conformed[spec.preprocessing.input], spec.preprocessing)
    return conformed


def _conform_several(inputs: Tensors, spec: ModelSpec) -> dict[str, Array]:
    by_name = {tensor.name: tensor for tensor in spec.inputs}
    if inputs.keys() != by_name.keys():
        _check_names(inputs, by_name)
        by_name = {name: tensor for name, tensor in by_name.items() if name in inputs}
    if spec.whole:
        inputs = {name: values[np.newaxis] if name in spec.whole else values for name, values in inputs.items()}
    conformed = {name: _conform_tensor(inputs[name], tensor) for name, tensor in by_name.items()}
    counts = {name: len(values) for name, values in conformed.items() if name not in spec.whole}
    if len(set(counts.values())) > 1:
        raise InvalidInput(f"inputs differ in their number of instances: {counts}")
    return conformed


def _check_names(inputs: Tensors, expected: Mapping[str, TensorSpec]) -> None:
    """Refuse an unknown input, and a missing one that is required."""
    if unknown := inputs.keys() - expected.keys():
        raise InvalidInput(f"unknown input {quoted(min(unknown))}; the signature's inputs are {sorted(expected)}")
    if missing := {name for name, tensor in expected.items() if not tensor.optional} - inputs.keys():
        raise InvalidInput(f"input {quoted(min(missing))} is missing; the signature's inputs are {sorted(expected)}")


def _conform_tensor(values: Array, tensor: TensorSpec) -> Array:
    if values.ndim == 0:
        raise InvalidInput(f"{tensor.name!r} is one number; send a list with one value per instance")
    if len(values) == 0:
        raise InvalidInput(f"{tensor.name!r} holds no instance; send at least one")
    if values.shape[1:] != tensor.shape:
        _check_shape(values, tensor)
    if tensor.is_string or values.dtype.kind == "O":
        _check_strings(values, tensor)
        return values
    cast = _cast(values, tensor)
    if cast is None:
        _check_values(values, tensor)
        cast = values.astype(tensor.numpy_dtype)
    return cast if cast.flags.c_contiguous else np.ascontiguousarray(cast)


def _cast(values: Array, tensor: TensorSpec) -> Array | None:
    """The values in the signature's dtype; None if a value does not survive the cast or is not allowed.

    Takes one pass over the values instead of one per rule; the broken rule is searched for afterwards.
    """
    dtype = tensor.numpy_dtype
    cast = values
    if values.dtype == np.int64 and dtype == np.uint8:
        if values.view(np.uint64).max() > _LARGEST_UINT8:  # as unsigned, a negative number is huge
            return None
        cast = values.astype(dtype)
    elif values.dtype != dtype:
        if values.dtype.kind == "b" or (
            values.dtype.kind == "f" and dtype.itemsize == 8 and _outside(values, tensor).any()
        ):
            return None  # casting a number out of range to 64 bits may give any number
        with np.errstate(invalid="ignore", over="ignore"):
            cast = values.astype(dtype)
        if dtype.kind != "f" and not (cast == values).all():
            return None
    if dtype.kind == "f" and not np.isfinite(cast).all():
        return None
    if tensor.has_range and (cast.min() < value_range(tensor)[0] or cast.max() > value_range(tensor)[1]):
        return None
    return cast


def fits(shape: tuple[int, ...], tensor: TensorSpec) -> bool:
    """Whether an instance of the tensor may have that shape; without a batch dimension, the whole tensor."""
    return len(shape) == len(tensor.shape) and all(
        want in {-1, have} for have, want in zip(shape, tensor.shape, strict=True)
    )


def _check_shape(values: Array, tensor: TensorSpec) -> None:
    shape = values.shape[1:]
    if not fits(shape, tensor):
        sent = f"has shape {shape}" if shape else "is one number"
        raise InvalidInput(f"an instance of {tensor.name!r} {sent}; expected {tensor.instance_in_words}")
    if 0 in shape:
        raise InvalidInput(f"an instance of {tensor.name!r} is empty; send at least one value")


def _check_values(values: Array, tensor: TensorSpec) -> None:
    integral = tensor.numpy_dtype.kind != "f"
    if values.dtype.kind == "b" and tensor.numpy_dtype.kind != "b":
        _refuse_first(values, np.ones(values.shape, np.bool_), tensor, "is not a number")
    if values.dtype.kind == "f":
        if (tensor.finite or integral) and not np.isfinite(values).all():
            _refuse_first(values, ~np.isfinite(values), tensor, "is not a finite number")
        if integral and (fractional := values != np.floor(values)).any():
            hint = "; send 0-255, scaling is inside the model" if tensor.dtype == "uint8" else ""
            _refuse_first(values, fractional, tensor, f"is not a whole number{hint}")
    if values.dtype != tensor.numpy_dtype or tensor.has_range:
        outside = _outside(values, tensor)
        if not tensor.finite:
            outside &= np.isfinite(values)
        if outside.any():
            low, high = value_range(tensor)
            _refuse_first(values, outside, tensor, f"is outside {_number(low)} to {_number(high)}")


def _check_strings(values: Array, tensor: TensorSpec) -> None:
    if values.dtype.kind != "O":
        raise InvalidInput(f"{tensor.name!r} holds numbers; expected {tensor.instance_in_words}")
    if not tensor.is_string:
        raise InvalidInput(f"{tensor.name!r} holds strings; expected {tensor.instance_in_words}")
    if values.size > MOST_STRINGS:
        raise TooLarge(f"{tensor.name!r} holds {values.size} strings; at most {MOST_STRINGS} are accepted")
    for index, element in enumerate(values.flat if tensor.utf8 else ()):
        try:
            element.decode()
        except UnicodeDecodeError as error:
            where = [int(i) for i in np.unravel_index(index, values.shape)]
            place = f" at {where[1:]}" if len(where) > 1 else ""
            raise InvalidInput(
                f"instance {where[0]} of {tensor.name!r}: the string{place} is not UTF-8: {error.reason} at byte "
                f"{error.start}"
            ) from None


def _outside(values: Array, tensor: TensorSpec) -> npt.NDArray[np.bool_]:
    """Which values are outside the range of an element."""
    low, high = value_range(tensor)
    if isinstance(high, int) and values.dtype.kind == "f":  # as a float, the largest number of 64 bits is one more
        return np.asarray((values < float(low)) | (values >= float(high + 1)))
    return np.asarray((values < low) | (values > high))


def value_range(tensor: TensorSpec) -> tuple[Limit, Limit]:
    """Smallest and largest value that an element may have; whole numbers unless the contract or a float states them."""
    low, high = (-LARGEST, LARGEST) if tensor.is_bfloat16 else _dtype_range(tensor.numpy_dtype)
    return (low if tensor.minimum is None else tensor.minimum), (high if tensor.maximum is None else tensor.maximum)


@cache
def _dtype_range(dtype: np.dtype[Any]) -> tuple[Limit, Limit]:
    if dtype.kind == "b":
        return 0, 1
    if dtype.kind == "f":
        return float(np.finfo(dtype).min), float(np.finfo(dtype).max)
    return int(np.iinfo(dtype).min), int(np.iinfo(dtype).max)


def _number(value: Any) -> str:
    """A number in a message: whole numbers with all digits."""
    return str(value) if isinstance(value, int | np.integer | np.bool_) else f"{value:g}"


def _refuse_first(values: Array, bad: Array, tensor: TensorSpec, rule: str) -> None:
    where = tuple(int(i) for i in np.argwhere(bad)[0])
    place = f" at {list(where[1:])}" if len(where) > 1 else ""
    raise InvalidInput(f"instance {where[0]} of {tensor.name!r}: value {_number(values[where])}{place} {rule}")


def _check_text(ids: Array, text: TextPreprocessing) -> None:
    """Padding may only follow a text, and a text has 1 to ``max_length`` tokens."""
    if ids.shape[1] > text.max_length:
        raise InvalidInput(
            f"instances of {text.input!r} have {ids.shape[1]} token ids; at most {text.max_length} are accepted"
        )
    present = ids != PADDING_ID  # (rows, length)
    if present.all():
        return
    lengths = present.sum(axis=1)
    if not lengths.all():
        raise InvalidInput(f"instance {int(lengths.argmin())} of {text.input!r} holds only padding (id {PADDING_ID})")
    ends = ids.shape[1] - present[:, ::-1].argmax(axis=1)
    if (ends != lengths).any():
        row = int((ends != lengths).argmax())
        raise InvalidInput(f"instance {row} of {text.input!r} has padding (id {PADDING_ID}) before its last token")
