"""Numbers of bfloat16: on the wire the upper 16 bits of a float32, elsewhere that float32 itself.

A float32 represents every bfloat16, so that all rules for numbers hold, and no bit of one that arrives is lost.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

BFLOAT16 = "bfloat16"
LARGEST = (2.0 - 2.0**-7) * 2.0**127
# Largest distance of two neighbours, relative to them: to compare answers that are rounded.
STEP = 2.0**-7
_LOWER_HALF, _FRACTION, _QUIET = 0x7FFF, 0x7F, 0x40


def widened(bits: npt.NDArray[np.uint16]) -> npt.NDArray[np.float32]:
    """The float32 of equal value; of a NaN with the same bits.

    Args:
        bits: of bfloat16, any shape.
    """
    return np.asarray((bits.astype(np.uint32) << np.uint32(16)).view(np.float32))


def narrowed(values: npt.NDArray[Any]) -> npt.NDArray[np.uint16]:
    """The bits of the nearest bfloat16, of two equally near ones the even one; ``widened`` is undone exactly.

    Args:
        values: float32, any shape. Above ``LARGEST`` they may become infinite; a NaN stays one.

    Returns:
        Native uint16 of that shape.

    Source: IEEE 754-2019, section 4.3.1, roundTiesToEven, on the upper half of binary32.
    """
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32).reshape(values.shape)
    upper = bits >> np.uint32(16)
    rounded = (bits + (np.uint32(_LOWER_HALF) + (upper & np.uint32(1)))) >> np.uint32(16)
    if (is_nan := np.isnan(values)).any():
        # Rounding up could make it infinite, and the upper half alone may be infinity.
        kept = np.where(upper & np.uint32(_FRACTION), upper, upper | np.uint32(_QUIET))
        rounded = np.where(is_nan, kept, rounded)
    return np.asarray(rounded, np.uint16)  # of a tensor without dimensions NumPy has made a scalar
