"""A trigram model with modified Kneser-Ney smoothing: the baseline from word counts that a network should beat.

Source: Chen & Goodman, "An Empirical Study of Smoothing Techniques for Language Modeling", TR-10-98, Harvard (1998),
section 3: interpolated, with three discounts for counts of 1, 2, and 3 or more at each order.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

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


@dataclass(frozen=True)
class NgramTable:
    """Entries of contexts of one length: probabilities of some next tokens; the rest is left to shorter contexts.

    Attributes:
        keys: int64 (contexts,), sorted: the tokens of each context as digits, to the base of the number of ids, the
            oldest first.
        starts: int32 (contexts + 1,): its entries are those from its start to that of the next one.
        tokens: int16 or int32 (entries,).
        values: float16 (entries,): their probabilities, discounted.
        widest: most entries of a context, at least 1.
    """

    keys: npt.NDArray[np.int64]
    starts: Ids
    tokens: npt.NDArray[Any]
    values: npt.NDArray[np.float16]
    widest: int


@dataclass(frozen=True)
class NgramTables:
    """A trigram model for a graph.

    Attributes:
        anywhere: float32 (ids - 1,): probability of each token from 1 on, without a context.
        after_one, after_two: entries after one token, and after two.
    """

    anywhere: npt.NDArray[np.float32]
    after_one: NgramTable
    after_two: NgramTable


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

    def tables(self, *, context_count: int = 5, count: int = 2) -> "NgramTables":
        """The frequent part as arrays; what is left out goes to the shorter contexts, so that rows still sum to 1.

        Args:
            context_count: least occurrences of a pair of tokens that has entries of its own.
            count: least occurrences of an n-gram, and below the highest order least number of tokens before it.
        """
        base = self.vocabulary + 1
        tokens = np.arange(1, base)
        anywhere = np.array([self._probability(int(token), (), 2) for token in tokens], np.float32)
        triples, pairs, _ = self._orders
        return NgramTables(
            anywhere=anywhere,
            after_one=_table(pairs, base=base, context_count=1, count=count),
            after_two=_table(triples, base=base, context_count=context_count, count=count),
        )

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


def _table(order: _Order, *, base: int, context_count: int, count: int) -> NgramTable:
    entries: dict[int, list[tuple[int, float]]] = {}
    for gram, occurrences in order.counts.items():
        *context, token = gram
        total = order.totals[gram[:-1]]
        if occurrences >= count and total >= context_count:
            key = 0
            for each in context:
                key = key * base + each
            entries.setdefault(key, []).append(
                (token, (occurrences - order.discounts[min(occurrences, 3) - 1]) / total)
            )
    keys = sorted(entries) or [-1]  # a graph cannot read from an array without elements
    rows = [sorted(entries.get(key, [(1, 0.0)])) for key in keys]
    return NgramTable(
        keys=np.array(keys, np.int64),
        starts=np.cumsum([0, *map(len, rows)]).astype(np.int32),
        tokens=np.array([token for row in rows for token, _ in row], np.int16 if base <= 2**15 else np.int32),
        values=np.array([value for row in rows for _, value in row], np.float16),
        widest=max(map(len, rows)),
    )
