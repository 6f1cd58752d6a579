"""What the parts of an input are: regions of an image, tokens of a text, columns."""

import base64
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from app.contract.tokenizer import UNKNOWN, UNKNOWN_ID
from app.explain.parts import MOST_PARTS, Floats, Hidden, Parts, scored
from app.types import Array

DEFAULT_GRID = 8
"""Regions of an image along its longer side."""
MOST_SHOWN_BYTES = 2**14
"""Of an image whose pixels are told, so that people see what the model gets."""


class ImageParts(Parts):
    """Rectangles of an image, in rows from the top left.

    Args:
        name: of the input.
        image: uint8 (height, width) or (height, width, channels).
        fill: grey that hides a region.
        source: where it is from, in words.
        grid: regions along the longer side; at most one for each pixel.
    """

    kind = "image"

    def __init__(self, name: str, image: Array, *, fill: float, source: str, grid: int = DEFAULT_GRID) -> None:
        height, width = image.shape[:2]
        side = max(height, width) / min(grid, max(height, width))
        self.tops, self.lefts = _edges(height, side), _edges(width, side)
        self.count = (len(self.tops) - 1) * (len(self.lefts) - 1)
        self.replaced_by = f"grey {fill:.0f} of 255, {source}"
        self._name, self._image, self._fill = name, image, np.uint8(round(fill))
        down = np.repeat(np.arange(len(self.tops) - 1), np.diff(self.tops))
        across = np.repeat(np.arange(len(self.lefts) - 1), np.diff(self.lefts))
        self.region_of = down[:, None] * (len(self.lefts) - 1) + across
        """int (height, width): the region of each pixel."""

    @property
    def image(self) -> Array:
        """As given."""
        return self._image

    def rows(self, hidden: Hidden) -> dict[str, Array]:
        """See ``Parts``."""
        pixels = np.take(hidden, self.region_of, axis=1)  # unlike an index, it lets other threads run
        if self._image.ndim > pixels.ndim - 1:
            pixels = pixels[..., None]
        return {self._name: np.where(pixels, self._fill, self._image)}

    def described(self, scores: Floats, errors: Floats | None) -> dict[str, Any]:
        """``regions`` with their place in pixels, the size of the image, and if it is small, its ``pixels``: base64 of
        their bytes, row by row."""
        regions = []
        for place, score in enumerate(scores):
            down, across = divmod(place, len(self.lefts) - 1)
            top, left = int(self.tops[down]), int(self.lefts[across])
            size = {"height": int(self.tops[down + 1]) - top, "width": int(self.lefts[across + 1]) - left}
            regions.append(scored({"top": top, "left": left, **size}, score, errors, place))
        found = {"height": self._image.shape[0], "width": self._image.shape[1], "regions": regions}
        if self._image.nbytes <= MOST_SHOWN_BYTES:
            found["pixels"] = base64.b64encode(self._image.tobytes()).decode()
        return found


def _edges(size: int, side: float) -> npt.NDArray[np.intp]:
    """Where regions of about ``side`` pixels begin, and the end of the last one."""
    return np.unique(np.linspace(0, size, max(1, round(size / side)) + 1).round().astype(np.intp))


class TextParts(Parts):
    """Tokens of a text, without its padding; neighbouring ones together if there are more than ``MOST_PARTS``.

    Args:
        name: of the input.
        ids: int32 (length,), at least one.
        words: the tokens as the client wrote them.
    """

    kind = "text"
    replaced_by = f"the token {UNKNOWN}"

    def __init__(self, name: str, ids: Array, words: Sequence[str]) -> None:
        self._name, self._ids, self._words = name, ids, words
        self.length = len(ids)
        size = -(-len(ids) // MOST_PARTS)
        self._part_of = np.arange(len(ids)) // size
        self.count = int(self._part_of[-1]) + 1

    def rows(self, hidden: Hidden) -> dict[str, Array]:
        """See ``Parts``."""
        return {self._name: np.where(hidden[:, self._part_of], np.int32(UNKNOWN_ID), self._ids)}

    def described(self, scores: Floats, errors: Floats | None) -> dict[str, Any]:
        """``tokens`` with their text, and whether the vocabulary lacks them."""
        tokens = []
        for place, score in enumerate(scores):
            members = np.flatnonzero(self._part_of == place)
            entry = {
                "text": " ".join(self._words[member] for member in members.tolist()),
                "unknown": bool((self._ids[members] == UNKNOWN_ID).all()),
            }
            tokens.append(scored(entry, score, errors, place))
        return {"tokens": tokens}


class ColumnParts(Parts):
    """The elements of an input of numbers or strings.

    Args:
        name: of the input.
        values: (*shape) of any dtype but uint8 images.
        typical: that hides an element; a string for strings.
        source: where it is from, in words.
    """

    kind = "columns"

    def __init__(self, name: str, values: Array, *, typical: float | str | bytes, source: str) -> None:
        self.count = max(1, values.size)
        self.replaced_by = source
        self._name, self._values = name, values
        self._typical = _of_dtype(typical, values.dtype)

    def rows(self, hidden: Hidden) -> dict[str, Array]:
        """See ``Parts``."""
        shaped = hidden.reshape(len(hidden), *self._values.shape)
        made = np.repeat(self._values[np.newaxis], len(hidden), axis=0)
        made[shaped] = self._typical
        return {self._name: made}

    def described(self, scores: Floats, errors: Floats | None) -> dict[str, Any]:
        """``columns`` with their name, their value and what hides it."""
        flat = self._values.reshape(-1)
        columns = []
        for place, score in enumerate(scores):
            name = self._name if self._values.size == 1 else f"{self._name}[{place}]"
            entry = {"name": name, "value": _for_json(flat[place]), "hidden_as": _for_json(self._typical)}
            columns.append(scored(entry, score, errors, place))
        return {"columns": columns}


def _of_dtype(value: float | str | bytes, dtype: np.dtype[Any]) -> Any:
    """A number as an input of that dtype can hold it; a string as it is."""
    if dtype.kind not in "iu" or isinstance(value, str | bytes):
        return value
    limits = np.iinfo(dtype)
    return min(max(round(value), int(limits.min)), int(limits.max))


def _for_json(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    return value.item() if isinstance(value, np.generic) else value
