"""Rows of any data set as a matrix of numbers for classical methods: pixels, words, columns of a table."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from app.contract.tokenizer import split_tokens
from training.data.table_columns import CategoryColumn, NumberColumn, fit_columns
from training.datasets.splits import Examples
from training.errors import SettingRefused

Kind = Literal["numbers", "words"]
MOST_WORDS = 20_000
PIXELS = 255


@dataclass(frozen=True, kw_only=True)
class Features:
    """What a training part says of the features.

    Attributes:
        kind: ``numbers``: dense float32 (rows, features). ``words``: a sparse matrix (rows, words) of tf-idf.
        matrix: instances -> that matrix; can be pickled, so that its bytes can be counted.
    """

    kind: Kind
    matrix: Callable[[Any], Any]


def fit_features(train: Examples) -> Features:
    """The features of instances like those of ``train``, without anything that the labels say.

    Raises:
        SettingRefused: pictures that are decoded from files as they are needed; they are not in memory.
    """
    instances = train.instances
    if isinstance(instances, tuple):
        return Features(kind="words", matrix=_fit_words(instances))
    if not isinstance(instances, np.ndarray):
        raise SettingRefused(
            "the pictures do not fit pipeline.memory_limit_mb; classical methods need all of them in memory"
        )
    if instances.dtype.names:
        return Features(kind="numbers", matrix=_fit_columns(instances, train.labels))
    return Features(kind="numbers", matrix=flattened)


def flattened(instances: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """Pixels from 0 to 1, or numbers as they are, (rows, features)."""
    rows = instances.reshape(len(instances), -1).astype(np.float32)
    return rows / np.float32(PIXELS) if instances.dtype == np.uint8 else rows


def _fit_words(texts: tuple[str, ...]) -> Callable[[Any], Any]:
    """A bag of words: logarithmic counts, weighted by how rare a word is; the order of the words is lost."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    words = TfidfVectorizer(
        tokenizer=split_tokens, token_pattern=None, lowercase=False, max_features=MOST_WORDS, sublinear_tf=True
    )
    words.fit(texts)
    transform: Callable[[Any], Any] = words.transform
    return transform


@dataclass(frozen=True, kw_only=True)
class Columns:
    """Columns of a table as numbers: standardised ones with a mark for each gap, and one number for each category."""

    numbers: tuple[NumberColumn, ...]
    categories: tuple[CategoryColumn, ...]

    def __call__(self, instances: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        """(rows, features); a category that the training part did not have is 0 in all its features."""
        parts: list[npt.NDArray[Any]] = []
        for number in self.numbers:
            values = (instances[number.name].astype(np.float64) - number.mean) / number.deviation
            parts += [np.nan_to_num(values), np.isnan(values)]
        for category in self.categories:
            found = np.array([value.decode() for value in instances[category.name]], object)
            parts += [found == value for value in category.values]
        return np.stack(parts, axis=1).astype(np.float32)


def _fit_columns(instances: npt.NDArray[Any], labels: npt.NDArray[Any]) -> Columns:
    kinds = [instances.dtype[name] for name in instances.dtype.names or ()]
    if any(kind.shape or kind.kind not in "fSO" for kind in kinds):
        raise SettingRefused("baselines read images, texts, rows of numbers and tables, not named arrays")
    fitted = fit_columns(instances, labels)
    return Columns(numbers=fitted.numbers, categories=fitted.categories)
