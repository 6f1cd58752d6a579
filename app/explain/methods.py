"""How much each part speaks for an answer, by any function of the hidden parts. Independent of models and batches."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import numpy as np

from app.explain.parts import Floats, Hidden

Evaluate = Callable[[Hidden], Awaitable[Floats]]
"""Which parts are hidden, bool (rows, parts), to float64 (rows, 3): the score of the class that is explained, the best
class, and its score. The scores of all classes of a large vocabulary would fill the memory."""


@dataclass(frozen=True, slots=True)
class Attribution:
    """The scores of the parts of one instance for one class.

    Attributes:
        scores: float64 (parts,); above 0: the part speaks for the class.
        errors: float64 (parts,), standard errors; None if the method has none.
        missing: by how much the sum of the scores misses what hiding all parts changes, of a method whose scores
            should add up to it but for the steps of an integral; None for others.
    """

    scores: Floats
    errors: Floats | None = None
    missing: float | None = None


async def occlusion(evaluate: Evaluate, parts: int, value: float) -> Attribution:
    """The fall of the score when one part alone is hidden.

    Args:
        evaluate: the model.
        parts: their number.
        value: the score when nothing is hidden.

    Source: Zeiler and Fergus, Visualizing and Understanding Convolutional Networks, arXiv:1311.2901, section 4.2; for
    tokens, Li, Monroe and Jurafsky, Understanding Neural Networks through Representation Erasure, arXiv:1612.08220.
    """
    return Attribution(value - (await evaluate(np.eye(parts, dtype=bool)))[:, 0])


async def shapley(
    evaluate: Evaluate, parts: int, value: float, baseline: float, *, samples: int, seed: int
) -> Attribution:
    """Shapley values by sampling orders of the parts: each gets the mean of what it adds when it becomes visible.

    The sum over all parts is ``value - baseline`` for every order, so for their mean too. Each order is also taken
    backwards, which lowers the variance; the standard error is that of the mean of such pairs.

    Args:
        evaluate, parts, value: see ``occlusion``.
        baseline: the score when everything is hidden.
        samples: number of orders, even.
        seed: of the random numbers.

    Source: Castro, Gómez and Tejada, Polynomial calculation of the Shapley value based on sampling (2009); Mitchell et
    al., Sampling Permutations for Shapley Value Estimation, arXiv:2104.12199, antithetic sampling.
    """
    if parts == 1:
        return Attribution(np.array([value - baseline]), np.zeros(1))
    random = np.random.default_rng(seed)
    pairs: list[Floats] = []
    for _ in range(samples // 2):
        order = random.permutation(parts)
        both = np.stack([order, order[::-1]])
        # shown[d, k, p]: part p is among the first k + 1 of order d.
        shown = np.argsort(both, axis=1)[:, None, :] <= np.arange(parts - 1)[None, :, None]
        inner = (await evaluate(~shown.reshape(-1, parts)))[:, 0].reshape(2, parts - 1)
        steps = np.hstack([np.full((2, 1), baseline), inner, np.full((2, 1), value)])
        added = np.empty((2, parts))
        np.put_along_axis(added, both, np.diff(steps, axis=1), axis=1)
        pairs.append(added.mean(axis=0))
    found = np.stack(pairs)
    errors = found.std(axis=0, ddof=1) / np.sqrt(len(found)) if len(found) > 1 else None
    return Attribution(found.mean(axis=0), errors)


@dataclass(frozen=True, slots=True)
class Flip:
    """The parts whose hiding changes the answer.

    Attributes:
        parts: their indices, by falling score.
        target: the class that is answered then.
        value: its score.
    """

    parts: list[int]
    target: int
    value: float


async def smallest_flip(evaluate: Evaluate, scores: Floats, answer: int) -> Flip | None:
    """The fewest parts, taken by falling score, whose hiding changes the best class; None if no number of them does.

    It is the smallest set of this order, not of all orders: there are too many.

    Args:
        evaluate: the model.
        scores: of the parts, for ``answer``.
        answer: the best class when nothing is hidden.
    """
    order = np.argsort(-scores, kind="stable")
    hidden = np.argsort(order)[None, :] <= np.arange(len(order))[:, None]
    _, best, values = (await evaluate(hidden)).T
    changed = np.flatnonzero(best != answer)
    if not len(changed):
        return None
    first = int(changed[0])
    return Flip(order[: first + 1].tolist(), int(best[first]), float(values[first]))
