"""What all workers together have seen of each canary, for one judgement over all of them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from app.repository.policy import RolloutPolicy, Tried
from app.rollout.comparison import Comparison
from app.rollout.rollback import Limits

# What limits are judged by; all of them only grow while a worker tries one canary.
_COUNTS = ("requests", "errors", "copies", "copy_errors", "rows", "agreed")


@dataclass(slots=True)
class _Told:
    """The newest counts of one worker."""

    number: int
    seen: dict[Tried, Comparison]


@dataclass(slots=True)
class _Judged:
    """What all workers have seen of one canary under one policy."""

    policy: RolloutPolicy
    limits: Limits = field(default_factory=Limits)


class Canaries:
    """Adds up what workers tell; lives in the supervisor."""

    def __init__(self) -> None:
        self._told: dict[int, _Told] = {}
        self._judged: dict[Tried, _Judged] = {}

    def news(self, worker: int, counts: Mapping[str, Any]) -> Iterator[tuple[Tried, Comparison]]:
        """What a worker has seen of canaries that are not halted since it told last.

        Where a worker begins anew, because what it tries was loaded anew, or where no worker tries a canary any more,
        what was seen before is no longer judged.

        Args:
            worker: its number.
            counts: see ``Totals.heard``; older ones than known are left out.
        """
        last = self._told.get(worker, _Told(0, {}))
        if counts["number"] <= last.number:
            return
        now = {Tried(*key): (Comparison(**values), halted) for *key, values, halted in counts["metrics"]["rollouts"]}
        self._told[worker] = _Told(counts["number"], {tried: seen for tried, (seen, _) in now.items()})
        for tried in self._judged.keys() - {tried for told in self._told.values() for tried in told.seen}:
            del self._judged[tried]
        for tried, (seen, halted) in now.items():
            new = _since(last.seen.get(tried, Comparison()), seen)
            if new is None:
                self._judged.pop(tried, None)
                new = seen
            if not halted and any(getattr(new, each) for each in _COUNTS):
                yield tried, new

    def passed(self, tried: Tried, policy: RolloutPolicy, seen: Comparison) -> str | None:
        """Add what was seen; which limit is passed, in words, or None. With another policy it begins anew."""
        if policy.halted is not None:
            return None
        if (judged := self._judged.get(tried)) is None or judged.policy != policy:
            judged = self._judged[tried] = _Judged(policy)
        reason = judged.limits.passed(policy, seen)
        if reason is not None:
            del self._judged[tried]
        return reason

    def ended(self, worker: int) -> None:
        """A worker is gone; its successor counts from nothing."""
        self._told.pop(worker, None)


def _since(before: Comparison, now: Comparison) -> Comparison | None:
    """What has come since ``before``; None if the worker has begun anew."""
    grown = {each: getattr(now, each) - getattr(before, each) for each in _COUNTS}
    return Comparison(**grown) if min(grown.values()) >= 0 else None
