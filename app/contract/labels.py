"""Names of a model's scores, from model.json or from the vocabulary, and which scores are the best."""

import numpy as np
import numpy.typing as npt

from app.contract.model_spec import ModelSpec
from app.contract.steps import NextToken
from app.contract.tokenizer import Tokenizer
from app.errors import TooLarge
from app.types import Array

# Up to this many classes, sorting all of them is cheaper than selecting the best.
_FEW = 128
# Most classes in one answer: each costs one or two Python objects.
MOST_CLASSES = 262_144


def labels_of(spec: ModelSpec, tokenizer: Tokenizer | None) -> tuple[str, ...]:
    """One name for each column of the scores; empty if the model does not classify.

    Args:
        spec: spec of the model.
        tokenizer: of a text model; None for others.
    """
    step = spec.postprocessing
    if step is None:
        return ()
    if isinstance(step, NextToken):
        assert tokenizer is not None  # ModelSpec accepts a next-token output only for text models
        return tokenizer.names
    return step.labels


def best_classes(scores: Array, count: int) -> npt.NDArray[np.intp]:
    """Indices of the highest scores, best first; among equal scores the lower index is first.

    Args:
        scores: (rows, classes), no NaN.
        count: 1 to classes.

    Returns:
        (rows, count).

    Raises:
        TooLarge: more classes than one answer may contain.
    """
    rows, classes = scores.shape
    if rows > 1 and rows * count > MOST_CLASSES:
        raise TooLarge(
            f"{rows} instances with the best {count} classes each make {rows * count} classes; at most {MOST_CLASSES} "
            "are named; send fewer instances, or ask for fewer classes"
        )
    if classes <= _FEW or count * 2 > classes:
        return np.argsort(-scores, axis=1, kind="stable")[:, :count]
    # With many classes, only those with at least the count-th highest score are sorted.
    least = np.partition(scores, classes - count, axis=1)[:, classes - count]
    best = np.empty((rows, count), np.intp)
    for row in range(rows):
        candidates = np.flatnonzero(scores[row] >= least[row])
        best[row] = candidates[np.argsort(-scores[row, candidates], kind="stable")[:count]]
    return best
