"""Random values of samples that nobody gave."""

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import numpy as np

from app.contract.strings import string_array
from app.types import Array

# NumPy draws 8-byte numbers for every dtype: this many at a time are converted.
_AT_ONCE = 2**16


def digits(value: int) -> bytes:
    """A whole number as a string."""
    return b"%d" % value


def drawn(
    rng: np.random.Generator,
    dtype: np.dtype[Any],
    shape: Sequence[int],
    *,
    limit: int,
    string: Callable[[int], bytes] = digits,
) -> Array:
    """Normally distributed numbers, whole numbers from 0 to ``limit`` - 1, or strings made of these.

    Args:
        rng: draws them; equal ones draw equal values.
        dtype: of the array.
        shape: of the array.
        limit: see above.
        string: the string for a whole number; it is made once for each.
    """
    values: Array = np.empty(prod(shape), dtype)
    is_text, is_float = dtype.kind == "O", dtype.kind == "f"
    texts = string_array([string(value) for value in range(limit)], (limit,)) if is_text else None
    for start in range(0, values.size, _AT_ONCE):
        part = values[start : start + _AT_ONCE]
        if is_float:
            part[:] = rng.normal(size=part.size)
        else:
            whole = rng.integers(0, limit, part.size)
            part[:] = whole if texts is None else texts[whole]
    return values.reshape(shape)
