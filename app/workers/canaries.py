"""What all workers together have seen of each canary, for one judgement over all of them."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from app.repository.policy import RolloutPolicy, Tried
from app.serving.comparison import Comparison
from app.serving.limits import Limits

# What limits are judged by; all of them only grow while a worker tries one canary.
_COUNTS = ("requests", "errors", "copies", "copy_errors", "rows", "agreed")


@dataclass(slots=True)
class _Told:
    """The newest counts of one worker."""

    number: int
    seen: dict[Tried, Comparison]


class Canaries:
    """Adds up what workers tell; lives in the supervisor."""

    def __init__(self) -> None:
        self._told: dict[int, _Told] = {}
        self._limits: defaultdict[Tried, Limits] = defaultdict(Limits)
        self._policies: dict[Tried, RolloutPolicy] = {}

    def news(self, worker: int, counts: Mapping[str, Any]) -> Iterator[tuple[Tried, Comparison]]:
        """What a worker has seen of canaries that are not halted since it told last.

        Args:
            worker: its number.
            counts: see ``Totals.heard``; older ones than known are left out.
        """
        last = self._told.get(worker, _Told(0, {}))
        if counts["number"] <= last.number:
            return
        now = {Tried(*key): (Comparison(**values), halted) for *key, values, halted in counts["metrics"]["rollouts"]}
        self._told[worker] = _Told(counts["number"], {tried: seen for tried, (seen, _) in now.items()})
        for tried, (seen, halted) in now.items():
            new = _since(last.seen.get(tried, Comparison()), seen)
            if not halted and any(getattr(new, each) for each in _COUNTS):
                yield tried, new

    def passed(self, tried: Tried, policy: RolloutPolicy, seen: Comparison) -> str | None:
        """Add what was seen; which limit is passed, in words, or None. With another policy it begins anew."""
        if policy.halted is not None:
            return None
        if self._policies.get(tried) != policy:
            self._policies[tried] = policy
            self._limits.pop(tried, None)
        reason = self._limits[tried].passed(policy, seen)
        if reason is not None:
            del self._policies[tried]
        return reason

    def ended(self, worker: int) -> None:
        """A worker is gone; its successor counts from nothing."""
        self._told.pop(worker, None)


def _since(before: Comparison, now: Comparison) -> Comparison:
    """What has come since ``before``; all of ``now`` if the worker has begun anew."""
    grown = {each: getattr(now, each) - getattr(before, each) for each in _COUNTS}
    return now if min(grown.values()) < 0 else Comparison(**grown)
