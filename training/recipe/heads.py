"""The outputs of a network with several: each has a name, a task, a loss and its weight in the sum of losses.

What does not fit together is refused when the recipe is read, or, if it depends on the data, once that is read.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from training.datasets.splits import Splits
from training.errors import DataUnusable
from training.measure.label_sets import MultiLabel
from training.measure.several_outputs import HeadTask, SeveralTasks
from training.measure.tasks import Classify, Regress, Task
from training.overrides import FIXED
from training.recipe.fitting import Loss, Metric

PREDICTS = {Classify: "classes", MultiLabel: "labels", Regress: "number"}
"""Task -> the kind of its targets, as sources call it."""

_NUMBERS = frozenset({"mean-squared-error", "mean-absolute-error", "root-mean-squared-error"})
_FITTING = {
    Classify: {"categorical-crossentropy", "binary-crossentropy"} | _NUMBERS,
    MultiLabel: {"binary-crossentropy", "mean-squared-error", "mean-absolute-error"},
    Regress: _NUMBERS,
}


@dataclass(frozen=True, kw_only=True)
class Head:
    """One output among several.

    Attributes:
        name: of the output layer, and of the target in the data.
        task: what the output means.
        loss: to minimise.
        weight: what the loss is multiplied by in the sum of all; losses of numbers far from 1 need a small one.
        metrics: measured during training.
    """

    name: str = field(metadata=FIXED)
    task: HeadTask = field(metadata=FIXED)
    loss: Loss | None = None
    weight: float = 1.0
    metrics: tuple[Metric, ...] = field(default=(), metadata=FIXED)

    def __post_init__(self) -> None:
        if not (np.isfinite(self.weight) and self.weight >= 0):
            raise ValueError(f"the weight of head {self.name!r} must be 0 or more, not {self.weight:g}")


def joined(heads: Sequence[Head]) -> SeveralTasks:
    """The tasks of the heads as one.

    Raises:
        ValueError: there is only one head, two have the same name, one has no loss or one that is not for its task, or
            all weights are 0.
    """
    names = [head.name for head in heads]
    if len(heads) < 2:
        raise ValueError(f"heads has only {names[0]!r}; for one output use task, loss and metrics of the recipe")
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"two heads are called {name!r}; give each output its own name")
    for head in heads:
        if head.loss is None:
            raise ValueError(f"head {head.name!r} has no loss; add for example loss=Loss(name={_usual(head.task)!r})")
        check_loss(f"head {head.name!r}", head.task, head.loss, head.metrics)
    if not any(head.weight for head in heads):
        raise ValueError("the weight of every head is 0, so there is nothing to minimise")
    return SeveralTasks.of({head.name: head.task for head in heads})


def check_loss(whose: str, task: Task, loss: Loss, metrics: Sequence[Metric]) -> None:
    """Refuse a loss that cannot compare the answers of a task with its targets, and a metric that would mislead.

    Raises:
        ValueError: names the loss and those that can.
    """
    fitting = _FITTING.get(type(task))
    if fitting and loss.name not in fitting:
        raise ValueError(
            f"{whose}: loss {loss.name!r} is not for {type(task).__name__}; choose one of {', '.join(sorted(fitting))}"
        )
    if isinstance(task, MultiLabel) and "accuracy" in metrics:
        raise ValueError(
            f"{whose}: metric 'accuracy' counts rows with one class; for labels use 'binary-accuracy', the share of "
            "labels that are right"
        )


def _usual(task: HeadTask) -> str:
    kinds = {Classify: "categorical-crossentropy", MultiLabel: "binary-crossentropy", Regress: "mean-squared-error"}
    return kinds[type(task)]


def check_targets(name: str, task: Task, splits: Splits) -> None:
    """Refuse data whose targets are not those of a task.

    Args:
        name: of the recipe.
        task: of it.
        splits: its data, checked.

    Raises:
        DataUnusable: the names of the heads differ from those of the targets, or a target is of another kind.
    """
    labels = splits.train.labels
    if not isinstance(task, SeveralTasks):
        if splits.heads:
            raise DataUnusable(
                f"{name}: {splits.name} has the targets {', '.join(splits.heads)}; give the recipe a head for each"
            )
        _check_kind(f"{name}: the target", task, labels)
        return
    if set(task.tasks) != set(splits.heads):
        there = ", ".join(splits.heads) or "one target without a name"
        raise DataUnusable(
            f"{name}: the heads are {', '.join(task.tasks)}, but the targets of {splits.name} are {there}"
        )
    for head, each in task.tasks.items():
        _check_kind(f"{name}: the target of head {head!r}", each, labels[head])


def _check_kind(whose: str, task: Task, labels: Any) -> None:
    wanted = PREDICTS.get(type(task))
    found = {"i": "classes", "u": "classes", "b": "labels", "f": "number"}.get(labels.dtype.kind)
    if wanted and wanted != found:
        raise DataUnusable(
            f"{whose} has {found or 'values'} ({labels.dtype}, shape {labels.shape}), but {type(task).__name__} "
            f"requires {wanted}; change the task, or predicts={wanted!r} in the data"
        )
