"""Samples the rows that a version answers, and compares them with its training data."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from threading import Lock

from app.batching.work import Work
from app.drift.measures import Measure
from app.drift.window import Window
from app.types import Array, Clock

log = logging.getLogger("atelier.drift")

ROWS_AT_ONCE = 8
"""Most rows of one batch: similar ones often arrive together."""
MOST_WAITING_BYTES = 4 * 2**20
"""Most bytes of samples that wait to be counted; more are left out."""
ENTRY_BYTES = 512
"""Counted for a sample besides its values: the objects around them."""
MOST_SAMPLE_BYTES = 2**20
"""Most bytes of a sample: of larger inputs fewer rows are taken at once. A row that is larger alone is not measured."""


@dataclass(frozen=True, kw_only=True)
class DriftSettings:
    """Settings of the process.

    Attributes:
        window_s: seconds of served rows that are compared.
        rows_per_s: most rows of a version that are sampled each second.
    """

    window_s: float
    rows_per_s: float


class DriftWatch:
    """Samples one version; implements ``batching.work.BatchSampler``.

    The event loop only copies some rows, at most ``rows_per_s`` a second with any number of requests. ``count`` does
    the rest, in a thread.

    Args:
        measures: at least one.
        settings: of the process.
        clock: monotonic seconds.

    Attributes:
        measures: as given.
        next_at: monotonic seconds from which on a batch is sampled.
    """

    def __init__(self, measures: Sequence[Measure], settings: DriftSettings, clock: Clock) -> None:
        self.measures = tuple(measures)
        self.next_at = 0.0
        self._rows_per_s = settings.rows_per_s
        self._clock = clock
        self._window = Window([each.bins.count for each in self.measures], settings.window_s)
        # (is an output, tensor) -> rows
        self._waiting: list[Mapping[tuple[bool, str], Array]] = []
        self._waiting_bytes = 0
        self._lock = Lock()
        self._inputs = {each.name for each in self.measures if not each.is_output}
        self._outputs = {each.name for each in self.measures if each.is_output}

    @property
    def has_waiting(self) -> bool:
        """Whether samples wait to be counted."""
        return bool(self._waiting)

    def take(self, works: Sequence[Work], outcomes: Sequence[object]) -> None:
        """Sample a batch that ran. It never fails one."""
        try:
            taken = self._take(works, outcomes)
        except Exception:
            log.exception("a batch cannot be sampled; the drift of this version is no longer measured")
            self.next_at = float("inf")
        else:
            self.next_at = self._clock() + taken / self._rows_per_s

    def _take(self, works: Sequence[Work], outcomes: Sequence[object]) -> int:
        left = ROWS_AT_ONCE
        for work, outcome in zip(works, outcomes, strict=True):
            if not left or self._waiting_bytes >= MOST_WAITING_BYTES:
                break
            if isinstance(outcome, dict) and not work.is_probe:  # neither an error nor made by the service
                tensors = {(False, name): work.inputs[name] for name in self._inputs & work.inputs.keys()}
                tensors |= {(True, name): outcome[name] for name in self._outputs & outcome.keys()}
                nbytes = sum(values.nbytes for values in tensors.values())
                rows = min(left, work.rows, MOST_SAMPLE_BYTES // max(1, nbytes // work.rows))
                left -= rows
                if rows:
                    self._wait({key: _some(values, work.rows, rows) for key, values in tensors.items()})
        return ROWS_AT_ONCE - left

    def _wait(self, sample: Mapping[tuple[bool, str], Array]) -> None:
        with self._lock:
            self._waiting.append(sample)
            self._waiting_bytes += ENTRY_BYTES + sum(values.nbytes for values in sample.values())

    def count(self) -> None:
        """Count the samples that wait. Blocks for as long as that takes; call it in a thread."""
        with self._lock:
            waiting, self._waiting, self._waiting_bytes = self._waiting, [], 0
        now = self._clock()
        for sample in waiting:
            for place, measure in enumerate(self.measures):
                if (rows := sample.get((measure.is_output, measure.name))) is not None:
                    self._window.add(place, measure.counted(rows), now)

    def snapshot(self) -> list[dict[str, object]]:
        """The window, for JSON; ``telemetry.drift`` reads it."""
        return [
            {
                "kind": measure.kind,
                "name": measure.name,
                "expected": measure.expected.tolist(),
                "expected_rows": measure.expected_rows,
                "counts": counts.tolist(),
            }
            for measure, counts in zip(self.measures, self._window.sums(self._clock()), strict=True)
        ]


def _some(values: Array, rows: int, most: int) -> Array:
    """A copy of some rows, evenly spread: the memory of a request may be reused, or be that of a client."""
    return values[:: rows // most][:most].copy()
