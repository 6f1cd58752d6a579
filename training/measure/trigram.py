"""A trigram model with modified Kneser-Ney smoothing: the baseline from word counts that a network should beat.

Source: Chen & Goodman, "An Empirical Study of Smoothing Techniques for Language Modeling", TR-10-98, Harvard (1998),
section 3: interpolated, with three discounts for counts of 1, 2, and 3 or more at each order.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

Ids = npt.NDArray[np.int32]
Gram = tuple[int, ...]


@dataclass(frozen=True)
class _Order:
    """Counts of one order: of n-grams by the tokens before the last one.

    Attributes:
        counts: n-gram -> count; below the highest order the number of different tokens that precede it.
        totals: context -> sum of the counts of its n-grams.
        kinds: context -> number of its n-grams with count 1, 2, and 3 or more.
        discounts: for these three.
    """

    counts: dict[Gram, int]
    totals: dict[Gram, int]
    kinds: dict[Gram, list[int]]
    discounts: tuple[float, float, float]


class Trigram:
    """Probability of a token after the two before it.

    Args:
        passages: int32 (tokens,) each; n-grams do not cross from one into the next.
        vocabulary: number of tokens that can occur; without counts they are equally likely.
    """

    def __init__(self, passages: Sequence[Ids], *, vocabulary: int) -> None:
        self.vocabulary = vocabulary
        trigrams: Counter[Gram] = Counter()
        pairs: set[Gram] = set()
        for passage in passages:
            tokens = [int(token) for token in passage]
            trigrams.update(zip(tokens, tokens[1:], tokens[2:], strict=False))
            pairs.update(pairwise(tokens))
        lower = (Counter(gram[1:] for gram in grams) for grams in (trigrams, pairs))
        self._orders = [_order(grams) for grams in (trigrams, *lower)]

    def probability(self, token: int, before: Gram) -> float:
        """P(token | before); ``before`` contains at most two tokens, oldest first."""
        context = before[-2:]
        return self._probability(token, context, 2 - len(context))

    def _probability(self, token: int, context: Gram, level: int) -> float:
        if level == len(self._orders):
            return 1 / self.vocabulary
        order = self._orders[level]
        lower = self._probability(token, context[1:], level + 1)
        total = order.totals.get(context)
        if not total:
            return lower
        count = order.counts.get((*context, token), 0)
        discount = order.discounts[min(count, 3) - 1] if count else 0.0
        kept_back = sum(d * n for d, n in zip(order.discounts, order.kinds[context], strict=True))
        return (count - discount + kept_back * lower) / total

    def log_loss(self, passages: Sequence[Ids]) -> float:
        """Mean of -ln P over every token of the passages except the first of each."""
        losses = [
            -np.log(self.probability(int(token), tuple(int(before) for before in passage[max(0, place - 2) : place])))
            for passage in passages
            for place, token in enumerate(passage)
            if place
        ]
        return float(np.mean(losses))


def _order(counts: Counter[Gram]) -> _Order:
    totals: dict[Gram, int] = defaultdict(int)
    kinds: dict[Gram, list[int]] = defaultdict(lambda: [0, 0, 0])
    for gram, count in counts.items():
        totals[gram[:-1]] += count
        kinds[gram[:-1]][min(count, 3) - 1] += 1
    return _Order(dict(counts), dict(totals), dict(kinds), _discounts(counts))


def _discounts(counts: Counter[Gram]) -> tuple[float, float, float]:
    """Chen & Goodman's equation 26; each above 0 and below its count, even if some counts of 1 to 4 are missing."""
    n = Counter(min(count, 5) for count in counts.values())
    share = n[1] / (n[1] + 2 * n[2]) if n[1] else 0.5
    found = [number - (number + 1) * share * n[number + 1] / n[number] if n[number] else 0.5 for number in (1, 2, 3)]
    one, two, three = (min(max(value, 0.01), limit - 0.01) for limit, value in zip((1, 2, 3), found, strict=True))
    return one, two, three
