"""From the labels of rows to what a loss compares answers with, and the weights that go with them.

Importing this module does not import TensorFlow.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from training.datasets.splits import Classes, Examples

Targets = npt.NDArray[np.float32] | dict[str, npt.NDArray[np.float32]]
"""float32 (rows, width), or name of a head -> such an array."""


def targets_of(labels: npt.NDArray[Any], classes: Classes) -> Targets:
    """One-hot rows for classes, 0 and 1 for labels of which several may hold, numbers as they are.

    Args:
        labels: see ``Examples.labels``.
        classes: of the data set.
    """
    if labels.dtype.names:
        assert isinstance(classes, Mapping)  # a data set with several heads says so
        return {name: _single(labels[name], classes[name]) for name in labels.dtype.names}
    assert isinstance(classes, int)
    return _single(labels, classes)


def _single(labels: npt.NDArray[Any], classes: int) -> npt.NDArray[np.float32]:
    if labels.dtype.kind in "iu" and labels.ndim == 1:
        return np.asarray(np.eye(classes, dtype=np.float32)[labels])
    return np.ascontiguousarray(labels, np.float32)


def following(examples: Examples, targets: Targets) -> Callable[[Any], tuple[Any, ...]]:
    """What follows the inputs in a training batch: row numbers -> the targets, and the weights if the rows have some.

    Args:
        examples: of the training part.
        targets: of its rows.
    """
    import tensorflow as tf

    both = (targets,) if examples.weights is None else (targets, examples.weights)
    kept = tf.nest.map_structure(tf.constant, both)
    return lambda rows: tuple(tf.nest.map_structure(lambda values: tf.gather(values, rows), kept))


def picked(targets: Targets, rows: Any) -> Any:
    """The rows of targets, also of each head."""
    if isinstance(targets, dict):
        return {name: values[rows] for name, values in targets.items()}
    return targets[rows]


def without_weights(batches: Any) -> Any:
    """tf.data.Dataset of (inputs, targets) from one that may also have weights."""
    return batches.map(lambda inputs, targets, *_: (inputs, targets))
