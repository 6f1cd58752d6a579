"""The parts of an instance that can be hidden: regions of an image, tokens of a text, columns of a row."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from app.types import Array

MOST_PARTS = 256
"""Most parts of an instance; of a longer text, neighbouring tokens are one part."""

Hidden = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]


class Parts(ABC):
    """The parts of one input of an instance.

    Attributes:
        kind: ``image``, ``text`` or ``columns``.
        count: number of parts.
        replaced_by: what is put in place of a hidden part, in words.
        length: tokens of the instance; 0 if all instances of the model have the same shape.
    """

    kind: str
    count: int
    replaced_by: str
    length: int = 0

    @abstractmethod
    def rows(self, hidden: Hidden) -> dict[str, Array]:
        """Instances with parts hidden.

        Args:
            hidden: bool (rows, count).

        Returns:
            Input name -> (rows, *shape).
        """

    @abstractmethod
    def described(self, scores: Floats, errors: Floats | None) -> dict[str, Any]:
        """The parts with their scores, and standard errors of these if they are known, for JSON."""


class AllParts:
    """The parts of all inputs of an instance, one after another.

    Args:
        each: of each input, in the order of the signature.
    """

    def __init__(self, each: Sequence[Parts]) -> None:
        self.each = tuple(each)
        self.count = sum(parts.count for parts in self.each)

    @property
    def kind(self) -> str:
        """That of all inputs; ``mixed`` if they differ."""
        kinds = {parts.kind for parts in self.each}
        return kinds.pop() if len(kinds) == 1 else "mixed"

    @property
    def length(self) -> int:
        """See ``Parts``."""
        return max(parts.length for parts in self.each)

    @property
    def replaced_by(self) -> str:
        """In words, without repetition."""
        return "; ".join(dict.fromkeys(parts.replaced_by for parts in self.each))

    def rows(self, hidden: Hidden) -> dict[str, Array]:
        """See ``Parts.rows``."""
        made: dict[str, Array] = {}
        for parts, own in zip(self.each, self._divided(hidden), strict=True):
            made |= parts.rows(own)
        return made

    def described(self, scores: Floats, errors: Floats | None) -> dict[str, Any]:
        """See ``Parts.described``; lists of the same name are joined."""
        found: dict[str, Any] = {}
        divided = [None] * len(self.each) if errors is None else self._divided(errors)
        for parts, own, error in zip(self.each, self._divided(scores), divided, strict=True):
            for key, value in parts.described(own, error).items():
                found[key] = [*found.get(key, []), *value] if isinstance(value, list) else value
        return found

    def _divided(self, values: Any) -> list[Any]:
        """Values (..., count) by input."""
        return np.split(values, np.cumsum([parts.count for parts in self.each])[:-1], axis=-1)


def scored(entry: Mapping[str, Any], score: float, errors: Floats | None, place: int) -> dict[str, Any]:
    """A part for JSON: its place, its score, and the standard error if there is one."""
    made = {**entry, "score": float(score)}
    if errors is not None:
        made["error"] = float(errors[place])
    return made
