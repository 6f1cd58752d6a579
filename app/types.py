"""Types used by all parts of the service."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy.typing as npt

Array = npt.NDArray[Any]
"""A tensor; the first dimension is the rows of a request or a batch."""

Tensors = Mapping[str, Array]
"""Name of an input or output -> its rows."""

Clock = Callable[[], float]
"""Monotonic seconds."""
