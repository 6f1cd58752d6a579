"""Metrics of the counts of model versions, as families of samples."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
    SummaryMetricFamily,
)
from prometheus_client.samples import Exemplar

from app.telemetry.counts import VERSION_LABELS, VersionMetrics
from app.telemetry.sums import Duration, Histogram

Histograms = Literal["requests", "all"]

Counted = Sequence[tuple[list[str], VersionMetrics]]
"""Model and version, as labels, with their counts."""


def counter_families(
    counted: Counted, *, unknown: Mapping[tuple[str, int], int], loads_done: Mapping[tuple[str, str], Duration]
) -> Iterator[Metric]:
    """The metrics that count.

    Args:
        counted: counts of all versions.
        unknown: (protocol, status code) -> requests without a version that serves.
        loads_done: (model, result) -> attempts to load a version.
    """
    requests = CounterMetricFamily(
        "atelier_requests",
        "Inference requests by status code; model is empty if no version serves under the requested name.",
        labels=[*VERSION_LABELS, "protocol", "code"],
    )
    closed = CounterMetricFamily(
        "atelier_batches", "Backend calls by the reason why their batch closed.", labels=[*VERSION_LABELS, "reason"]
    )
    dropped = CounterMetricFamily(
        "atelier_dropped_rows",
        "Instances that left the queue without being run.",
        labels=[*VERSION_LABELS, "reason"],
    )
    loads = CounterMetricFamily(
        "atelier_model_loads",
        "Attempts to load a version, by result: ready or refused.",
        labels=["model", "result"],
    )
    seconds = CounterMetricFamily(
        "atelier_model_load_seconds", "Seconds of attempts to load a version.", labels=["model", "result"]
    )
    hangs = CounterMetricFamily(
        "atelier_hung_batches",
        "Batches abandoned because the backend did not answer within max_execution_ms.",
        labels=VERSION_LABELS,
    )
    faults = CounterMetricFamily(
        "atelier_device_faults", "Batches in which a version's device failed.", labels=VERSION_LABELS
    )
    for (model, result), duration in sorted(loads_done.items()):
        loads.add_metric([model, result], duration.count)
        seconds.add_metric([model, result], duration.seconds)
    for (protocol, code), count in sorted(unknown.items()):
        requests.add_metric(["", "", protocol, str(code)], count)
    for labels, counts in counted:
        for (protocol, code), count in sorted(counts.requests.items()):
            requests.add_metric([*labels, protocol, str(code)], count)
        for reason, count in sorted(counts.closed.items()):
            closed.add_metric([*labels, reason], count)
        for reason, count in sorted(counts.dropped.items()):
            dropped.add_metric([*labels, reason], count)
        hangs.add_metric(labels, counts.hangs)
        faults.add_metric(labels, counts.device_faults)
    yield from (requests, closed, dropped, loads, seconds, hangs, faults)


def recording_families(counted: Counted) -> Iterator[Metric]:
    """The metrics of recorded requests."""
    recorded = CounterMetricFamily(
        "atelier_recorded_rows", "Instances of answered requests that were recorded.", labels=VERSION_LABELS
    )
    dropped = CounterMetricFamily(
        "atelier_recording_dropped_rows",
        "Instances that were to be recorded and were not, by reason.",
        labels=[*VERSION_LABELS, "reason"],
    )
    feedback = CounterMetricFamily(
        "atelier_feedback", "Right answers to recorded instances that clients sent.", labels=VERSION_LABELS
    )
    for labels, counts in counted:
        recorded.add_metric(labels, counts.recorded)
        for reason, count in sorted(counts.recording_dropped.items()):
            dropped.add_metric([*labels, reason], count)
        feedback.add_metric(labels, counts.feedback)
    yield from (recorded, dropped, feedback)


def histogram_families(counted: Counted, histograms: Histograms) -> Iterator[Metric]:
    """The metrics of requests, of their stages and of batches.

    Args:
        counted: counts of all versions.
        histograms: of which there are histograms; of the others there is a summary without quantiles, which has the
            same sum and count.
    """
    requests = HistogramMetricFamily(
        "atelier_request_seconds",
        "Seconds from the first byte of a request to its reply; of an early refusal, since the check.",
        labels=VERSION_LABELS,
    )
    for labels, counts in counted:
        buckets, total = counts.request_seconds.samples()
        requests.add_metric(labels, [_with_exemplar(counts, *each) for each in enumerate(buckets)], total)
    yield requests
    is_histogram = histograms == "all"
    families = {
        "batch_rows": ("atelier_batch_rows", "Instances per backend call."),
        "batch_seconds": ("atelier_batch_seconds", "Seconds per backend call."),
        "padding_ratio": (
            "atelier_batch_padding_ratio",
            "Share of a batch that is padding: after shorter rows, and rows added for allowed_batch_sizes.",
        ),
    }
    for attribute, (name, text) in families.items():
        found = [(labels, getattr(counts, attribute)) for labels, counts in counted]
        yield _family(name, text, found, is_histogram=is_histogram)
    yield _family(
        "atelier_stage_seconds",
        "Seconds of answered requests by stage.",
        [([*labels, stage], each) for labels, counts in counted for stage, each in counts.stage_seconds.items()],
        is_histogram=is_histogram,
        more_labels=["stage"],
    )


def _with_exemplar(
    counts: VersionMetrics, place: int, bucket: tuple[str, float]
) -> tuple[str, float] | tuple[str, float, Exemplar]:
    """A bucket, with the last traced request in it, which only OpenMetrics prints."""
    if (found := counts.exemplars.get(place)) is None:
        return bucket
    trace_id, seconds, now = found
    return (*bucket, Exemplar({"trace_id": trace_id}, seconds, round(now, 3)))


def _family(
    name: str,
    text: str,
    found: Sequence[tuple[list[str], Histogram]],
    *,
    is_histogram: bool,
    more_labels: Sequence[str] = (),
) -> Metric:
    """One histogram, or its sum and count alone."""
    labels = [*VERSION_LABELS, *more_labels]
    if is_histogram:
        histogram = HistogramMetricFamily(name, text, labels=labels)
        for values, each in found:
            histogram.add_metric(values, *each.samples())
        return histogram
    summary = SummaryMetricFamily(name, text, labels=labels)
    for values, each in found:
        buckets, total = each.samples()
        summary.add_metric(values, count_value=int(buckets[-1][1]), sum_value=total)
    return summary


def queue_families(counted: Counted) -> Iterator[Metric]:
    """The metrics of what waits."""
    rows = GaugeMetricFamily("atelier_queued_rows", "Instances waiting for a backend call.", labels=VERSION_LABELS)
    nbytes = GaugeMetricFamily("atelier_queued_bytes", "Bytes of inputs waiting.", labels=VERSION_LABELS)
    for labels, counts in counted:
        rows.add_metric(labels, counts.queued_rows)
        nbytes.add_metric(labels, counts.queued_bytes)
    yield from (rows, nbytes)
