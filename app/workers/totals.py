"""The sums of the counts of all workers, including those that have ended."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from app.telemetry.counts import requests_of
from app.telemetry.metrics import Metrics
from app.telemetry.process import OwnProcess, ProcessMetrics


class Totals:
    """Sums over workers that never fall when one ends; used by the supervisor."""

    def __init__(self) -> None:
        self._last: dict[int, Mapping[str, Any]] = {}
        self._ended = Metrics()
        self._ended_process = ProcessMetrics()
        self._ended_requests: Counter[int] = Counter()
        self._own = OwnProcess()
        self._restarts = 0

    def heard(self, worker: int, counts: Mapping[str, Any]) -> None:
        """The newest counts of a worker.

        Args:
            worker: its number.
            counts: "metrics" and "process", each a snapshot, and "number", which grows with each.
        """
        if counts["number"] > self._last.get(worker, {"number": 0})["number"]:
            self._last[worker] = counts

    def ended(self, worker: int) -> None:
        """Called when a worker has ended; its counts are kept."""
        if (counts := self._last.pop(worker, None)) is not None:
            self._ended.merge(counts["metrics"], ended=True)
            self._ended_process.merge(counts["process"], ended=True)
            self._ended_requests[worker] += requests_in(counts["metrics"])

    def restarted(self) -> None:
        """Called when a worker is started in place of one that ended."""
        self._restarts += 1

    def document(self, *, workers: int, serving: int) -> dict[str, Any]:
        """All of it, as ``telemetry.summed_metrics.SummedMetrics`` reads it.

        Args:
            workers: numbers run from 1 to this.
            serving: workers that answer now.
        """
        metrics, process, requests = Metrics(), ProcessMetrics(), Counter(self._ended_requests)
        metrics.merge(self._ended.snapshot(), ended=True)
        process.merge(self._ended_process.snapshot())
        process.merge(self._own.snapshot())
        for worker, counts in self._last.items():
            metrics.merge(counts["metrics"])
            process.merge(counts["process"])
            requests[worker] += requests_in(counts["metrics"])
        snapshot = metrics.snapshot()
        if self._last:  # a canary that no worker has any more is dropped, as in a single process
            pairs = {tuple(each[:3]) for counts in self._last.values() for each in counts["metrics"]["rollouts"]}
            snapshot["rollouts"] = [each for each in snapshot["rollouts"] if tuple(each[:3]) in pairs]
        return {
            "metrics": snapshot,
            "process": process.snapshot(),
            "serving": serving,
            "restarts": self._restarts,
            "requests": [[worker, requests[worker]] for worker in range(1, workers + 1)],
        }


def requests_in(snapshot: Mapping[str, Any]) -> int:
    """Inference requests that a snapshot of ``Metrics`` counts."""
    total: int = snapshot["forgotten_requests"] + sum(count for _, count in snapshot["unknown"])
    return total + sum(requests_of(counts) for _, _, counts in snapshot["versions"])
