"""Finds instances on which a model gives each of its classes, and computes the labels of encoded samples."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from app.contract.golden import MINIMUM_ROWS
from app.contract.model_spec import ModelSpec
from training.errors import TrainingError
from training.export.model_export import Runner, keras_runner
from training.publish.ascent import Ascent

ROWS = MINIMUM_ROWS
STARTS = 4  # gradient ascents to one class
# Least margin between the two best classes of an encoded sample; with less, another device could swap them.
CLEAR_MARGIN = 0.02

Array = npt.NDArray[Any]


class GoldenIncomplete(TrainingError):
    """No instance was found on which the model gives a certain class."""


def keras_answers(keras: Runner, inputs: Mapping[str, Array], lengths: Mapping[str, Array]) -> dict[str, Array]:
    """Output name -> (rows, *shape): every row in its own batch, without its padding."""
    count = len(next(iter(inputs.values())))
    answers = [
        keras(
            {
                name: values[row : row + 1, : int(lengths[name][row])] if name in lengths else values[row : row + 1]
                for name, values in inputs.items()
            }
        )
        for row in range(count)
    ]
    return {name: np.concatenate([answer[name] for answer in answers]) for name in answers[0]}


class Judge:
    """The answers of a Keras model with one input.

    Args:
        spec: signature.
        model: tf_keras.Model.
        name: the input.
        labels: names of the scores; none if the model gives no scores.
        every_class: whether golden samples must show every class; otherwise they show those that are found.
    """

    def __init__(
        self, spec: ModelSpec, model: Any, name: str, labels: Sequence[str], *, every_class: bool = True
    ) -> None:
        self.spec = spec
        self.target = spec.input(name)
        self.labels = labels
        self.every_class = every_class
        self._ascent = Ascent(model, self.target)
        self._run = keras_runner(model, spec)
        self._output = spec.outputs[0].name if spec.postprocessing is None else spec.postprocessing.output

    def scores(self, batch: Array) -> Array:
        """float32 (rows, classes)."""
        return self._run({self.target.name: batch})[self._output]

    @property
    def wanted(self) -> range:
        """The classes that golden samples must show; empty if there are more than rows."""
        return range(len(self.labels) if len(self.labels) <= ROWS else 0)

    def labelled(self, instances: Mapping[str, Array]) -> dict[str, str]:
        """Key -> label, for the instances, shape (*shape,), with a clear label."""
        if not self.labels:
            return {}
        found = {}
        for key, instance in instances.items():
            answer = self.scores(instance[None])[0]
            second, first = np.sort(answer)[-2:]
            if first - second >= CLEAR_MARGIN:
                found[key] = self.labels[int(answer.argmax())]
        return found

    def cover(self, pool: Array) -> Array:
        """Choose rows of ``pool``, (rows, *shape), so that every class is given, each about equally often.

        A class that no row of the pool gets is reached by gradient ascent from a row that comes near.

        Returns:
            64 rows, or one for each class if there are more classes.

        Raises:
            GoldenIncomplete: names a class that nothing reached, if every class is required.
        """
        if not self.labels:
            return pool[:ROWS]
        answers = self.scores(pool)
        given = answers.argmax(1)
        groups = [
            pool[given == label] if (given == label).any() else self._climb(label, pool, answers)
            for label in range(len(self.labels))
        ]
        count, turn = max(ROWS, len(groups)), 0
        chosen: list[Array] = []
        while len(chosen) < count:
            chosen += [members[turn] for members in groups if turn < len(members)]
            turn += 1
        rows = np.stack(chosen[:count])
        self.check_all_given(self.scores(rows).argmax(1))
        return rows

    def check_all_given(self, given: Sequence[int] | Array) -> None:
        """Raise GoldenIncomplete if a class is not among ``given``, and every class is required."""
        for label in self.wanted if self.every_class else ():
            if label not in given:
                raise self.never(label)

    def never(self, label: int) -> GoldenIncomplete:
        """The error for a class that cannot be reached."""
        return GoldenIncomplete(
            f"{self.spec.name}: no instance was found that the model assigns to {self.labels[label]!r}"
        )

    def _climb(self, label: int, pool: Array, answers: Array) -> Array:
        """(1, *shape): the nearest row of the pool, or a less near one, changed until it gives ``label``.

        Nothing, (0, *shape), if that fails and not every class is required.
        """
        starts = pool[np.argsort(-answers[:, label])[:: len(pool) // STARTS]]
        for start in starts:
            reached = self._ascent.climb(start, label)
            if reached is not None:
                return reached[None]
        if self.every_class:
            raise self.never(label)
        return pool[:0]
