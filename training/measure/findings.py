"""Figures that a run measures besides its evaluation, each with its expected value; imports no TensorFlow."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from app.contract.tensor_spec import TensorSpec


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One figure.

    Attributes:
        name: name of the figure.
        value: measured value.
        wanted: expected value, in words; empty if the figure is only recorded.
        holds: whether the value is as expected; None if the figure is only recorded.
    """

    name: str
    value: float | int | str
    wanted: str = ""
    holds: bool | None = None

    def as_json(self) -> dict[str, Any]:
        """For metrics.json; a number that JSON cannot represent becomes its name."""
        value = self.value.item() if isinstance(self.value, np.generic) else self.value
        finite = not isinstance(value, float) or math.isfinite(value)
        return {
            "name": self.name,
            "value": value if finite else str(value),
            "wanted": self.wanted,
            "holds": self.holds,
        }

    @property
    def shown(self) -> str:
        """The value for a table."""
        return f"{self.value:.9g}" if isinstance(self.value, float) else str(self.value)


@dataclass(frozen=True, kw_only=True)
class Servable:
    """A model that a lesson learned and that can be published.

    Attributes:
        model: tf_keras.Model.
        inputs, outputs: its tensors, named as the model names them.
    """

    model: Any
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]


@dataclass(frozen=True, kw_only=True)
class Findings:
    """All findings of a study.

    Attributes:
        figures: in the order of the report.
        pictures: title -> PNG file in the run's directory.
        notes: sentences for the report.
        servable: the model of a lesson that has learned something to predict with.
    """

    figures: tuple[Finding, ...] = ()
    pictures: Mapping[str, Path] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    servable: Servable | None = None

    @property
    def missed(self) -> tuple[Finding, ...]:
        """The figures that are not as expected."""
        return tuple(figure for figure in self.figures if figure.holds is False)

    @property
    def complaint(self) -> str:
        """The missed figures, in words."""
        names = ", ".join(figure.name for figure in self.missed)
        return f"{names} {'is' if len(self.missed) == 1 else 'are'} not as expected"


def equal(name: str, value: float | int | str, wanted: float | int | str) -> Finding:
    """A finding that must be exactly ``wanted``."""
    return Finding(name=name, value=value, wanted=str(wanted), holds=bool(value == wanted))


def close(name: str, value: float, wanted: float, *, within: float) -> Finding:
    """A finding that may differ from ``wanted`` by at most ``within``."""
    return Finding(
        name=name, value=float(value), wanted=f"{wanted:.9g} ± {within:.1g}", holds=bool(abs(value - wanted) <= within)
    )


def between(name: str, value: float, low: float, high: float) -> Finding:
    """A finding that must be between ``low`` and ``high``, both excluded."""
    return Finding(
        name=name, value=float(value), wanted=f"between {low:g} and {high:g}", holds=bool(low < value < high)
    )


def below(name: str, value: float, limit: float, *, of: str) -> Finding:
    """A finding that must be smaller than ``limit``, which is the figure ``of`` something else."""
    return Finding(name=name, value=float(value), wanted=f"below {limit:.6g}, {of}", holds=bool(value < limit))


def above(name: str, value: float, limit: float, *, of: str) -> Finding:
    """A finding that must be larger than ``limit``, which is the figure ``of`` something else."""
    return Finding(name=name, value=float(value), wanted=f"above {limit:.6g}, {of}", holds=bool(value > limit))


def recorded(name: str, value: float | int | str) -> Finding:
    """A finding that is only recorded."""
    return Finding(name=name, value=value)
