"""Weights of the classes in the loss, so that rare classes count as much as frequent ones."""

from typing import Any

import numpy as np
import numpy.typing as npt

from training.datasets.splits import Splits
from training.errors import SettingRefused


def balanced_weights(labels: npt.NDArray[np.int32], classes: int) -> npt.NDArray[np.float32]:
    """float32 (classes,): rows / (classes * rows of the class); 0 for a class without rows.

    Source: King and Zeng, Logistic Regression in Rare Events Data (2001); scikit-learn's ``class_weight="balanced"``.

    Args:
        labels: int32 (rows,) of the training part.
        classes: number of classes.
    """
    counts = np.bincount(labels, minlength=classes)
    weights = len(labels) / (classes * np.maximum(counts, 1))
    return np.where(counts > 0, weights, 0.0).astype(np.float32)


def weigh_classes(batches: Any, splits: Splits) -> Any:
    """tf.data.Dataset of (inputs, targets, weights) from one of (inputs, one-hot or blended targets[, weights]).

    Args:
        batches: of the training part; weights of its rows are multiplied by those of their classes.
        splits: the data set.

    Raises:
        SettingRefused: the data set has not one class for each row.
    """
    import tensorflow as tf

    kind = splits.train.labels.dtype.kind
    if kind not in "iu" or not splits.labels:
        targets = {"V": "of several heads", "b": "sets of labels"}.get(kind, "numbers")
        raise SettingRefused(
            f"fitting.class_weights=balanced requires classes; the targets of this recipe are {targets}"
        )
    weights = tf.constant(balanced_weights(splits.train.labels, len(splits.labels)))

    def weighed(inputs: Any, targets: Any, *own: Any) -> tuple[Any, Any, Any]:
        of_class = tf.linalg.matvec(targets, weights)
        return inputs, targets, of_class * own[0] if own else of_class

    return batches.map(weighed)
