"""Adds up the counts of each canary from all workers, so that it is judged once for all of them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from app.repository.rollout_policy import CanaryPair, RolloutPolicy
from app.rollout.canary_limits import Limits
from app.rollout.comparison import Comparison

# Counts that limits apply to; they only grow while a worker compares one canary.
_COUNTS = ("requests", "errors", "copies", "copy_errors", "rows", "agreed")


@dataclass(slots=True)
class _Told:
    """The newest counts of one worker."""

    number: int
    seen: dict[CanaryPair, Comparison]


@dataclass(slots=True)
class _Judged:
    """Counts of one canary under one policy, from all workers."""

    policy: RolloutPolicy
    limits: Limits = field(default_factory=Limits)


class Canaries:
    """Adds up the counts of all workers; used by the supervisor."""

    def __init__(self) -> None:
        self._told: dict[int, _Told] = {}
        self._judged: dict[CanaryPair, _Judged] = {}

    def news(self, worker: int, counts: Mapping[str, Any]) -> Iterator[tuple[CanaryPair, Comparison]]:
        """New counts of a worker since its last report, for canaries that are not halted.

        Earlier counts are dropped if the worker counts from zero, because a version was loaded again, or
        if no worker has the canary any more.

        Args:
            worker: its number.
            counts: see ``Totals.heard``; counts older than the known ones are ignored.
        """
        last = self._told.get(worker, _Told(0, {}))
        if counts["number"] <= last.number:
            return
        told = counts["metrics"]["rollouts"]
        now = {CanaryPair(*key): (Comparison(**values), halted) for *key, values, halted in told}
        self._told[worker] = _Told(counts["number"], {pair: seen for pair, (seen, _) in now.items()})
        for pair in self._judged.keys() - {pair for each in self._told.values() for pair in each.seen}:
            del self._judged[pair]
        for pair, (seen, halted) in now.items():
            new = _since(last.seen.get(pair, Comparison()), seen)
            if new is None:
                self._judged.pop(pair, None)
                new = seen
            if not halted and any(getattr(new, each) for each in _COUNTS):
                yield pair, new

    def passed(self, pair: CanaryPair, policy: RolloutPolicy, seen: Comparison) -> str | None:
        """Add counts; returns which limit is exceeded, in words, or None. Another policy starts the count from zero."""
        if policy.halted is not None:
            return None
        if (judged := self._judged.get(pair)) is None or judged.policy != policy:
            judged = self._judged[pair] = _Judged(policy)
        reason = judged.limits.passed(policy, seen)
        if reason is not None:
            del self._judged[pair]
        return reason

    def ended(self, worker: int) -> None:
        """Called when a worker has ended; its successor counts from zero."""
        self._told.pop(worker, None)


def _since(before: Comparison, now: Comparison) -> Comparison | None:
    """The counts since ``before``; None if the worker counts from zero."""
    grown = {each: getattr(now, each) - getattr(before, each) for each in _COUNTS}
    return Comparison(**grown) if min(grown.values()) >= 0 else None
