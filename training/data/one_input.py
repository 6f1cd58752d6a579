"""What the feeds of networks with one input have in common."""

from collections.abc import Mapping
from typing import Any, Protocol

from app.contract.tensor_spec import TensorSpec
from training.data.trigram import NgramTables
from training.datasets.splits import Examples


class _Described(Protocol):
    @property
    def input(self) -> TensorSpec: ...
    def statistics(self, examples: Examples) -> Mapping[str, Any]: ...


class OneInput:
    """Part of a ``Feed`` that has ``input`` and ``statistics``."""

    table: None = None
    arrays: None = None
    ngrams: NgramTables | None = None

    @property
    def inputs(self: _Described) -> tuple[TensorSpec, ...]:
        """The one input."""
        return (self.input,)

    def described(self: _Described, examples: Examples) -> Mapping[str, Any]:
        """The statistics of the one input, by its name."""
        return {self.input.name: dict(self.statistics(examples))}
