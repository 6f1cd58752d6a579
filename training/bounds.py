"""Bounds of settings, declared with their types: ``dropout: ShareBelowOne = 0.3`` in a ``Bounded`` dataclass."""

import dataclasses
import math
from typing import Annotated, Any, get_args, get_origin, get_type_hints


@dataclasses.dataclass(frozen=True, kw_only=True)
class Bounds:
    """What a finite number must be; None: no bound."""

    at_least: float | None = None
    above: float | None = None
    at_most: float | None = None
    below: float | None = None

    def allow(self, value: float) -> bool:
        """Whether ``value`` is finite and within the bounds."""
        return (
            math.isfinite(value)
            and (self.at_least is None or value >= self.at_least)
            and (self.above is None or value > self.above)
            and (self.at_most is None or value <= self.at_most)
            and (self.below is None or value < self.below)
        )

    def __str__(self) -> str:
        bounds = {"at least ": self.at_least, "above ": self.above, "at most ": self.at_most, "below ": self.below}
        return " and ".join(f"{word}{bound:.10g}" for word, bound in bounds.items() if bound is not None)


_LARGEST = 2**31 - 1
"""Of a size of TensorFlow's; larger ones end in an error of its own."""
Count = Annotated[int, Bounds(at_least=1, at_most=_LARGEST)]
CountOrZero = Annotated[int, Bounds(at_least=0, at_most=_LARGEST)]
Seed = Annotated[int, Bounds(at_least=0, below=2**32)]
"""Of NumPy's and TensorFlow's generators."""
AboveZero = Annotated[float, Bounds(above=0)]
ZeroOrMore = Annotated[float, Bounds(at_least=0)]
Share = Annotated[float, Bounds(at_least=0, at_most=1)]
ShareBelowOne = Annotated[float, Bounds(at_least=0, below=1)]
Intensity = Annotated[float, Bounds(at_least=0, at_most=255)]


class Bounded:
    """Base of dataclasses: every field that is ``Annotated`` with bounds is checked, also in tuples and beside None.

    Raises:
        ValueError: names the field and its bounds.
    """

    def __post_init__(self) -> None:
        for name, bounds, optional in _declared(type(self)):
            value = getattr(self, name)
            for number in value if isinstance(value, tuple) else () if value is None else (value,):
                if not bounds.allow(number):
                    each = f"each number of {name}" if isinstance(value, tuple) else name
                    raise ValueError(f"{each} must be {bounds}{', or none' if optional else ''}")


def _declared(settings: type) -> list[tuple[str, Bounds, bool]]:
    """(name, bounds, whether it may be None) of each field of a class that has bounds."""
    hints = get_type_hints(settings, include_extras=True)
    return [(name, bounds, type(None) in get_args(hint)) for name, hint in hints.items() for bounds in _of(hint)]


def _of(hint: Any) -> list[Bounds]:
    """The bounds in a type, in its members if it is a union or a tuple."""
    arguments = get_args(hint)
    if get_origin(hint) is Annotated:
        return [argument for argument in arguments if isinstance(argument, Bounds)]
    return [bounds for argument in arguments for bounds in _of(argument)][:1]
