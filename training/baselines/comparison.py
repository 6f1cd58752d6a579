"""Trains classical methods and measures them on the validation part of a data set, each on one core.

The test part is not read.
"""

import pickle
import time
import warnings
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from training.baselines.features import fit_features
from training.baselines.methods import METHODS
from training.datasets.splits import Examples, Splits

Labels = npt.NDArray[Any]


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One method.

    Attributes:
        rows: that it learned from.
        accuracy: on the validation part.
        seconds: of its training, without that of the features.
        answer_us: microseconds for each validation row, all in one call, without the features.
        bytes: of the pickled method and its features.
        note: a warning of scikit-learn; empty without one.
    """

    method: str
    rows: int
    accuracy: float
    seconds: float
    answer_us: float
    bytes: int
    note: str = ""

    def as_json(self) -> dict[str, Any]:
        """For baselines.json."""
        return asdict(self)


def compare_methods(splits: Splits, *, rows: int) -> Iterator[Measured]:
    """Measure the most frequent class, and then each of ``METHODS``.

    Args:
        splits: of classes, checked, with a validation part.
        rows: most rows to learn from, the first of the training part; they are in random order.
    """
    from threadpoolctl import threadpool_limits

    train = splits.train.take(np.arange(min(rows, len(splits.train))))
    features = fit_features(train)
    known, new = features.matrix(train.instances), features.matrix(splits.validation.instances)
    yield _most_frequent(train, splits.validation.labels)
    for name, make in METHODS.items():
        method = make(features.kind)
        with warnings.catch_warnings(record=True) as caught, threadpool_limits(1):
            warnings.simplefilter("always")
            began = time.perf_counter()
            method.fit(known, train.labels)
            trained = time.perf_counter()
            answers = method.predict(new)
            answered = time.perf_counter()
        yield Measured(
            method=name,
            rows=len(train),
            accuracy=_share_right(answers, splits.validation.labels),
            seconds=trained - began,
            answer_us=(answered - trained) / len(splits.validation) * 1e6,
            bytes=len(pickle.dumps((features, method))),
            note="; ".join(sorted({type(each.message).__name__ for each in caught})),
        )


def _most_frequent(train: Examples, truth: Labels) -> Measured:
    guess = int(np.bincount(train.labels).argmax())
    return Measured(
        method="most frequent class",
        rows=len(train),
        accuracy=_share_right(np.full(len(truth), guess), truth),
        seconds=0.0,
        answer_us=0.0,
        bytes=len(pickle.dumps(guess)),
    )


def _share_right(answers: Labels, truth: Labels) -> float:
    return float((answers == truth).mean())
