"""The counts of all replicas together, also of those that have ended; one replica of Ray Serve keeps them."""

import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from app.workers.totals import Totals

SERVES_WITHIN_S = 5.0
"""A replica that has reported within this time counts as serving."""
DIES_AFTER_S = 30.0
"""A replica that has not reported for this time is taken for dead; what it last reported stays in the sums."""
GONE_KEPT = 1024


@dataclass(slots=True)
class _Known:
    """A replica.

    Attributes:
        number: its label in the metrics; a successor takes the number of one that is gone.
        heard_at: monotonic seconds.
    """

    number: int
    heard_at: float


class Counts:
    """Sums over replicas. Its methods are coroutines, so that they run one after the other on one event loop.

    Args:
        clock: monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._totals = Totals()
        self._known: dict[str, _Known] = {}
        self._died: set[int] = set()
        self._gone: deque[str] = deque(maxlen=GONE_KEPT)
        self._most = 0

    async def heard(self, replica: str, counts: Mapping[str, Any]) -> None:
        """Take the newest counts of a replica.

        Args:
            replica: its id.
            counts: see ``Totals.heard``. Those of a replica that was taken for dead are ignored: they are in the sums.
        """
        if replica in self._gone:
            return
        known = self._known.get(replica)
        if known is None:
            known = self._known[replica] = _Known(self._free_number(), 0.0)
            if known.number in self._died:
                self._died.remove(known.number)
                self._totals.restarted()
        known.heard_at = self._clock()
        self._totals.heard(known.number, counts)

    async def ended(self, replica: str, counts: Mapping[str, Any]) -> None:
        """Take the last counts of a replica that ends."""
        await self.heard(replica, counts)
        self._forget(replica)

    async def total(self, replica: str, counts: Mapping[str, Any]) -> dict[str, Any]:
        """Take the newest counts of a replica; returns all sums, as ``SummedMetrics`` reads them."""
        await self.heard(replica, counts)
        now = self._clock()
        for each, known in list(self._known.items()):
            if now - known.heard_at > DIES_AFTER_S:
                self._died.add(known.number)
                self._forget(each)
        serving = sum(now - known.heard_at <= SERVES_WITHIN_S for known in self._known.values())
        return self._totals.document(workers=self._most, serving=serving)

    def _forget(self, replica: str) -> None:
        if (known := self._known.pop(replica, None)) is not None:
            self._totals.ended(known.number)
            self._gone.append(replica)

    def _free_number(self) -> int:
        taken = {known.number for known in self._known.values()}
        number = next(number for number in range(1, len(taken) + 2) if number not in taken)
        self._most = max(self._most, number)
        return number
