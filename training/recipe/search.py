"""What ``tune`` may try for a setting of a recipe: a range of numbers, or choices."""

import math
from dataclasses import dataclass

from training.overrides import as_text


@dataclass(frozen=True, kw_only=True)
class Range:
    """Numbers from ``low`` to ``high``, both included; whole ones for a setting that is a whole number.

    Attributes:
        logarithmic: draw the logarithm uniformly, as for learning rates.
    """

    low: float
    high: float
    logarithmic: bool = False

    def __post_init__(self) -> None:
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low < self.high):
            raise ValueError(f"a range must go from a smaller to a larger number, not from {self.low} to {self.high}")
        if self.logarithmic and self.low <= 0:
            raise ValueError(f"a logarithmic range must begin above 0, not at {self.low}")

    def __str__(self) -> str:
        return f"{self.low:g} to {self.high:g}{', logarithmic' if self.logarithmic else ''}"


@dataclass(frozen=True, kw_only=True)
class Choices:
    """Some values of a setting, each as likely as the others at first: a tuple of at least two of the field's type."""

    values: tuple[object, ...]

    def __post_init__(self) -> None:
        if len(self.values) < 2 or any(value in self.values[:place] for place, value in enumerate(self.values)):
            raise ValueError(f"choices must be at least two different values, not {self.values}")

    def __str__(self) -> str:
        return " or ".join(map(as_text, self.values))


SearchSpace = dict[str, Range | Choices]
"""Dotted path of a setting -> what to try for it."""
