"""A network with several outputs as one task, whose figures are those of each output. Imports no TensorFlow."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, cast

from app.contract.steps import Classification
from app.contract.tensor_spec import TensorSpec
from training.measure.label_sets import MultiLabel
from training.measure.tasks import Activation, Array, Classify, Measured, Names, Regress

HeadTask = Classify | MultiLabel | Regress
"""What an output among several can do."""


@dataclass(frozen=True, kw_only=True)
class SeveralFigures:
    """The figures of each output.

    Attributes:
        heads: name of the output -> its figures.
    """

    heads: Mapping[str, Measured]

    @property
    def rows(self) -> int:
        """Number of examples."""
        return next(iter(self.heads.values())).rows

    @property
    def headline(self) -> str:
        """The most important figure of each."""
        return ", ".join(f"{name} {figures.headline}" for name, figures in self.heads.items())

    def as_json(self) -> dict[str, Any]:
        """For metrics.json."""
        return {"rows": self.rows, "heads": {name: figures.as_json() for name, figures in self.heads.items()}}


@dataclass(frozen=True, kw_only=True)
class SeveralTasks:
    """A task for each output of a network.

    Attributes:
        tasks: name of the output, in order -> its task.
    """

    tasks: Mapping[str, HeadTask]

    @classmethod
    def of(cls, tasks: Mapping[str, HeadTask]) -> "SeveralTasks":
        """The tasks, each with the output of its name."""
        return cls(tasks={name: replace(task, output=name) for name, task in tasks.items()})

    @property
    def activations(self) -> Mapping[str, Activation]:
        """See ``Task.activations``."""
        return {name: activation for task in self.tasks.values() for name, activation in task.activations.items()}

    def tensors(self, lengths: Mapping[str, int]) -> tuple[TensorSpec, ...]:
        """See ``Task.tensors``."""
        return tuple(tensor for task in self.tasks.values() for tensor in task.tensors(lengths))

    def postprocessing(self, names: Mapping[str, Names]) -> Classification | None:
        """The names of the first output that classifies, or else of the first with labels, for ``:classify``."""
        named = [name for kind in (Classify, MultiLabel) for name, task in self.tasks.items() if isinstance(task, kind)]
        return cast("Classify", self.tasks[named[0]]).postprocessing(names[named[0]]) if named else None

    def measure(self, answers: Array, truth: Array, *, names: Mapping[str, Names]) -> SeveralFigures:
        """Each output with its task; arguments as ``Task`` says."""
        return SeveralFigures(
            heads={
                name: task.measure(answers[name], truth[name], names=names[name]) for name, task in self.tasks.items()
            }
        )

    def restore(self, document: dict[str, Any]) -> SeveralFigures:
        """Inverse of ``SeveralFigures.as_json``."""
        return SeveralFigures(heads={name: task.restore(document["heads"][name]) for name, task in self.tasks.items()})

    def statistics(self, answers: Array, truth: Array, *, names: Mapping[str, Names]) -> Mapping[str, Any]:
        """Of each output."""
        return {
            "rows": len(answers),
            "heads": {
                name: task.statistics(answers[name], truth[name], names=names[name])
                for name, task in self.tasks.items()
            },
        }
