"""Counts of one model version."""

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np

from app.batching.work import BatchTimes, Timings
from app.telemetry.sums import Duration, Histogram, plain, summed

SECONDS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0)
ROWS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0)
RATIO = (0.0, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.75)
FOLD_AT = 256
VERSION_LABELS = ["model", "version"]
STAGES = ("read", "decode", "queue", "compute", "encode")
BATCH_STAGES = ("compute_input", "compute_infer", "compute_output")
BatchStages = tuple[Duration, Duration, Duration]


def _batch_stages() -> BatchStages:
    return Duration(), Duration(), Duration()


@dataclass(slots=True)
class VersionMetrics:
    """Counts of one model version; implements ``batching.work.BatchObserver``.

    Every field is a count that adds up over processes, but for those of ``NOT_SUMMED``.
    """

    request_seconds: Histogram = field(default_factory=lambda: Histogram(SECONDS))
    stage_seconds: dict[str, Histogram] = field(default_factory=lambda: {name: Histogram(SECONDS) for name in STAGES})
    batch_rows: Histogram = field(default_factory=lambda: Histogram(ROWS))
    batch_seconds: Histogram = field(default_factory=lambda: Histogram(SECONDS))
    padding_ratio: Histogram = field(default_factory=lambda: Histogram(RATIO))
    requests: Counter[tuple[str, int]] = field(default_factory=Counter)
    closed: Counter[str] = field(default_factory=Counter)
    dropped: Counter[str] = field(default_factory=Counter)
    hangs: int = 0
    device_faults: int = 0
    recorded: int = 0
    recording_dropped: Counter[str] = field(default_factory=Counter)
    feedback: int = 0
    queued_rows: int = 0
    queued_bytes: int = 0
    success: Duration = field(default_factory=Duration)
    fail: Duration = field(default_factory=Duration)
    queue: Duration = field(default_factory=Duration)
    # Batch size -> seconds of BATCH_STAGES.
    by_batch_size: defaultdict[int, BatchStages] = field(default_factory=lambda: defaultdict(_batch_stages))
    last_inference_s: float = 0.0
    # Bucket of request_seconds -> trace id, seconds and time (seconds since 1970) of the last traced request in it.
    exemplars: dict[int, tuple[str, float, float]] = field(default_factory=dict)
    # Answered requests that are not in the histograms yet: total seconds, then those of STAGES.
    waiting: list[tuple[float, ...]] = field(default_factory=list)
    # Batches that are not: rows, why it closed, times, padding.
    batches: list[tuple[int, str, BatchTimes, float]] = field(default_factory=list)

    def batch_done(self, *, rows: int, reason: str, times: BatchTimes, padding: float) -> None:
        """Count a batch."""
        self.batches.append((rows, reason, times, padding))
        if len(self.batches) >= FOLD_AT:
            self.fold()

    def batch_hung(self) -> None:
        """Count an abandoned batch."""
        self.hangs += 1

    def device_failed(self, *, times: int) -> None:
        """Count faults of the device."""
        self.device_faults += times

    def answered(self, seconds: float, timings: Timings) -> None:
        """Count an answered request. The histograms take many at a time, which costs a tenth."""
        self.all_answered((seconds,), timings)

    def all_answered(self, seconds: Sequence[float], timings: Timings) -> None:
        """Count answered requests with the same timings."""
        stages = (timings.read, timings.decode, timings.queue, timings.compute, timings.encode)
        self.waiting += [(each, *stages) for each in seconds]
        if len(self.waiting) >= FOLD_AT:
            self.fold()

    def note_trace(self, trace_id: str, seconds: float, now: float) -> None:
        """Remember a traced request as the example of its bucket."""
        self.exemplars[bisect_left(SECONDS, seconds)] = (trace_id, seconds, now)

    def fold(self) -> None:
        """Add the collected batches and requests to the histograms."""
        batches, self.batches = self.batches, []
        for rows, reason, times, padding in batches:
            self.batch_rows.observe(rows)
            self.batch_seconds.observe(times.input_s + times.infer_s + times.output_s)
            self.padding_ratio.observe(padding)
            self.closed[reason] += 1
            stages = self.by_batch_size[rows]
            stages[0].add(times.input_s)
            stages[1].add(times.infer_s)
            stages[2].add(times.output_s)
        if not self.waiting:
            return
        columns = np.array(self.waiting).T
        self.waiting.clear()
        self.request_seconds.observe_all(columns[0])
        self.success.add(float(columns[0].sum()), count=columns.shape[1])
        self.queue.add(float(columns[1 + STAGES.index("queue")].sum()), count=columns.shape[1])
        for stage, values in zip(STAGES, columns[1:], strict=True):
            self.stage_seconds[stage].observe_all(values)

    def work_dropped(self, *, rows: int, reason: str) -> None:
        """Count instances that left the queue without running."""
        self.dropped[reason] += rows

    def queue_changed(self, *, rows: int, nbytes: int) -> None:
        """Record the instances and bytes that wait."""
        self.queued_rows, self.queued_bytes = rows, nbytes

    def statistics(self) -> dict[str, Any]:
        """The counts in the form of Triton's statistics extension."""
        self.fold()
        executions = sum(stages[0].count for stages in self.by_batch_size.values())
        totals = {
            name: Duration(executions, sum(stages[i].seconds for stages in self.by_batch_size.values()))
            for i, name in enumerate(BATCH_STAGES)
        }
        durations = {"success": self.success, "fail": self.fail, "queue": self.queue, **totals}
        nothing = Duration()
        return {
            "last_inference": round(self.last_inference_s * 1e3),
            "inference_count": sum(rows * stages[0].count for rows, stages in self.by_batch_size.items()),
            "execution_count": executions,
            "inference_stats": {
                name: duration.as_statistics()
                for name, duration in {**durations, "cache_hit": nothing, "cache_miss": nothing}.items()
            },
            "response_stats": {},
            "batch_stats": [
                {"batch_size": rows}
                | {name: stage.as_statistics() for name, stage in zip(BATCH_STAGES, stages, strict=True)}
                for rows, stages in sorted(self.by_batch_size.items())
            ],
            "memory_usage": [],
        }

    def snapshot(self) -> dict[str, Any]:
        """All counts, for JSON; ``merge`` reads it."""
        self.fold()
        return {
            "counts": {name: plain(getattr(self, name)) for name in SUMMED},
            "queued": [self.queued_rows, self.queued_bytes],
            "last_inference_s": self.last_inference_s,
            "exemplars": [[bucket, *each] for bucket, each in self.exemplars.items()],
        }

    def merge(self, snapshot: Mapping[str, Any], *, ended: bool = False) -> None:
        """Add the counts of another process.

        Args:
            snapshot: see ``snapshot``.
            ended: that process has ended, so nothing waits in it any more.
        """
        for name, other in snapshot["counts"].items():
            setattr(self, name, summed(getattr(self, name), other))
        if not ended:
            self.queued_rows += snapshot["queued"][0]
            self.queued_bytes += snapshot["queued"][1]
        self.last_inference_s = max(self.last_inference_s, snapshot["last_inference_s"])
        for bucket, trace_id, seconds, now in snapshot["exemplars"]:
            if bucket not in self.exemplars or self.exemplars[bucket][2] < now:
                self.exemplars[bucket] = (trace_id, seconds, now)


NOT_SUMMED = {"queued_rows", "queued_bytes", "last_inference_s", "exemplars", "waiting", "batches"}
SUMMED = tuple(each.name for each in fields(VersionMetrics) if each.name not in NOT_SUMMED)


def requests_of(snapshot: Mapping[str, Any]) -> int:
    """Inference requests that a snapshot of ``VersionMetrics`` counts."""
    return sum(count for _, count in snapshot["counts"]["requests"])
