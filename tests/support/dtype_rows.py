"""Extreme values of every dtype."""

import numpy as np

from app.contract.dtypes import NAMES
from app.contract.strings import string_array


def ends(dtype):
    """The smallest and the largest number, in rows of two, and further numbers that only this type can represent."""
    if dtype == "string":
        return string_array([b"", "Z\u00fcrich\x00".encode(), b'"\\', "\U0001f600".encode() * 3], (2, 2))
    kind = np.dtype(dtype).kind
    if kind == "b":
        return np.array([[False, True], [True, True]])
    if kind == "f":
        info = np.finfo(dtype)
        return np.array([[info.min, info.max], [info.tiny, np.dtype(dtype).type(1) / 3]], dtype)
    info = np.iinfo(dtype)
    return np.array([[info.min, info.max], [info.min + 1, info.max - 1]], dtype)


# bfloat16 has tests of its own: ONNX Runtime's interface cannot answer with it next to strings.
ROWS = {dtype: ends(dtype) for dtype in NAMES if dtype != "bfloat16"}
