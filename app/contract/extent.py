"""How much tensors hold before they are made, and how many instances of them fit into a batch, or into samples."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from app.contract.strings import ELEMENT_BYTES, MOST_STRINGS, content_bytes
from app.types import Array

# Of one batch, inputs and outputs together; of the samples of a version, all inputs of all rows together.
BATCH_LIMIT_BYTES = 64 * 2**20


@dataclass(frozen=True)
class Extent:
    """What tensors hold together.

    Attributes:
        nbytes: bytes of memory, of strings with their objects and the references to them.
        strings: number of strings. The interpreter handles each by itself, so that their number has its own limit.
    """

    nbytes: int = 0
    strings: int = 0

    @classmethod
    def of(cls, dtype: np.dtype[Any], elements: int, *, content_bytes: int = 0) -> "Extent":
        """Of so many elements.

        Args:
            dtype: of the tensor.
            elements: their number.
            content_bytes: of strings, without what belongs to each of them.
        """
        if dtype.kind == "O":
            return cls(elements * ELEMENT_BYTES + content_bytes, elements)
        return cls(elements * dtype.itemsize)

    @classmethod
    def held(cls, values: Array) -> "Extent":
        """Of a tensor that exists."""
        return cls.of(values.dtype, values.size, content_bytes=content_bytes(values) if values.dtype.kind == "O" else 0)

    def __add__(self, other: "Extent") -> "Extent":
        """Of both together."""
        return Extent(self.nbytes + other.nbytes, self.strings + other.strings)

    @property
    def possible_rows(self) -> int:
        """How many instances of that extent fit; 0: not even one."""
        by_bytes = BATCH_LIMIT_BYTES // max(1, self.nbytes)
        return min(by_bytes, MOST_STRINGS // self.strings) if self.strings else by_bytes

    @property
    def in_words(self) -> str:
        """What they hold, for messages."""
        return f"{self.nbytes} bytes and {self.strings} strings" if self.strings else f"{self.nbytes} bytes"

    @property
    def limit_in_words(self) -> str:
        """What they may hold, for messages."""
        return Extent(BATCH_LIMIT_BYTES, MOST_STRINGS if self.strings else 0).in_words
