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
    """tf.data.Dataset of (inputs, targets, weights) from one of (inputs, one-hot or blended targets).

    Args:
        batches: of the training part.
        splits: the data set.

    Raises:
        SettingRefused: the data set has no classes.
    """
    import tensorflow as tf

    if not splits.labels:
        raise SettingRefused("fitting.class_weights=balanced requires classes; the targets of this recipe are numbers")
    weights = tf.constant(balanced_weights(splits.train.labels, len(splits.labels)))
    return batches.map(lambda inputs, targets: (inputs, targets, tf.linalg.matvec(targets, weights)))
