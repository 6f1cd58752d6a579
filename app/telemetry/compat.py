"""The metrics of Triton and TensorFlow Serving that this service has counts for, under their names.

Their counters have no ``_total`` at the end, so they are of the type "unknown" (untyped): OpenMetrics allows no other.

Source: Triton, Metrics (docs/user_guide/metrics.md); TensorFlow Serving, servables/tensorflow/util.cc.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from prometheus_client.core import Metric

from app.telemetry.counts import BATCH_STAGES, SECONDS, VERSION_LABELS, VersionMetrics
from app.telemetry.sums import Duration, Histogram
from app.telemetry.version_families import Counted

Compat = Literal["triton", "tfs"]

MICROSECONDS = 1e6
STATUS = {
    200: "OK",
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    413: "INVALID_ARGUMENT",
    429: "RESOURCE_EXHAUSTED",
    499: "CANCELLED",
    501: "UNIMPLEMENTED",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}
"""Status codes as TensorFlow Serving names them; all others are INTERNAL, or INVALID_ARGUMENT below 500."""


@dataclass(frozen=True, kw_only=True)
class VersionCount:
    """A count of Triton, for each version.

    Attributes:
        name: of Triton.
        here: what it is here, in PromQL or in words, as docs/reference/metrics.md has it.
        count: of a version.
        kind: of the metric.
    """

    name: str
    here: str
    count: Callable[[VersionMetrics], float]
    kind: Literal["unknown", "gauge"] = "unknown"


def _requests(counts: VersionMetrics, *, answered: bool) -> int:
    return sum(number for (_, code), number in counts.requests.items() if (code == 200) is answered)


def _batches(counts: VersionMetrics) -> int:
    return sum(stages[0].count for stages in counts.by_batch_size.values())


def _batch_us(stage: str) -> Callable[[VersionMetrics], float]:
    place = BATCH_STAGES.index(stage)
    return lambda counts: MICROSECONDS * sum(stages[place].seconds for stages in counts.by_batch_size.values())


_STATS = "in `/v2/models/NAME/stats`"
TRITON = (
    VersionCount(
        name="nv_inference_request_success",
        here='`sum by (model, version) (atelier_requests_total{code="200"})`',
        count=lambda counts: _requests(counts, answered=True),
    ),
    VersionCount(
        name="nv_inference_request_failure",
        here='`sum by (model, version) (atelier_requests_total{code!="200"})`',
        count=lambda counts: _requests(counts, answered=False),
    ),
    VersionCount(
        name="nv_inference_count",
        here="`atelier_batch_rows_sum`",
        count=lambda counts: sum(rows * stages[0].count for rows, stages in counts.by_batch_size.items()),
    ),
    VersionCount(name="nv_inference_exec_count", here="`atelier_batch_rows_count`", count=_batches),
    VersionCount(
        name="nv_inference_pending_request_count",
        here="`atelier_queued_rows`, in instances",
        count=lambda counts: counts.queued_rows,
        kind="gauge",
    ),
    VersionCount(
        name="nv_inference_request_duration_us",
        here="`1e6 * atelier_request_seconds_sum`",
        count=lambda counts: MICROSECONDS * counts.request_seconds.samples()[1],
    ),
    VersionCount(
        name="nv_inference_queue_duration_us",
        here='`1e6 * atelier_stage_seconds_sum{stage="queue"}`',
        count=lambda counts: MICROSECONDS * counts.queue.seconds,
    ),
    VersionCount(name="nv_inference_compute_input_duration_us", here=_STATS, count=_batch_us("compute_input")),
    VersionCount(name="nv_inference_compute_infer_duration_us", here=_STATS, count=_batch_us("compute_infer")),
    VersionCount(name="nv_inference_compute_output_duration_us", here=_STATS, count=_batch_us("compute_output")),
)
TRITON_GPU = {
    "utilization": "nv_gpu_utilization",
    "memory_total_bytes": "nv_gpu_memory_total_bytes",
    "memory_used_bytes": "nv_gpu_memory_used_bytes",
    "power_w": "nv_gpu_power_usage",
}
"""Field of ``GpuUsage`` -> name of Triton; the label is ``gpu_uuid``."""
TFS = {
    ":tensorflow:serving:request_count": (
        '`sum by (model, code) (atelier_requests_total)`; its `status` is "OK" for `code="200"`'
    ),
    ":tensorflow:serving:request_latency": "`atelier_request_seconds`, times 1e6",
    ":tensorflow:serving:runtime_latency": (
        "`atelier_batch_seconds`, times 1e6; as a histogram with `ATELIER_METRICS_HISTOGRAMS=all`"
    ),
    ":tensorflow:core:graph_runs": "`sum(atelier_batch_rows_count)`",
    ":tensorflow:cc:saved_model:load_attempt_count": "`atelier_model_loads_total`",
}
"""Name of TensorFlow Serving -> what it is here."""


def compat_families(
    counted: Counted, *, compat: Sequence[Compat], loads_done: Mapping[tuple[str, str], Duration]
) -> Iterator[Metric]:
    """The metrics of other servers.

    Args:
        counted: counts of all versions.
        compat: the servers.
        loads_done: (model, result) -> attempts to load a version.
    """
    if "triton" in compat:
        for each in TRITON:
            family = Metric(each.name, f"As in Triton: {each.here}.", each.kind)
            for labels, counts in counted:
                family.add_sample(each.name, dict(zip(VERSION_LABELS, labels, strict=True)), each.count(counts))
            yield family
    if "tfs" in compat:
        yield from _tfs_families(counted, loads_done)


def _tfs_families(counted: Counted, loads_done: Mapping[tuple[str, str], Duration]) -> Iterator[Metric]:
    requests: Counter[tuple[str, str]] = Counter()
    latency: defaultdict[str, Histogram] = defaultdict(lambda: Histogram(SECONDS))
    runtime: defaultdict[str, Histogram] = defaultdict(lambda: Histogram(SECONDS))
    for (model, _), counts in counted:
        for (_, code), number in counts.requests.items():
            requests[model, _status(code)] += number
        latency[model].merge(counts.request_seconds.snapshot())
        runtime[model].merge(counts.batch_seconds.snapshot())
    families = {name: Metric(name, f"As in TensorFlow Serving: {here}.", "unknown") for name, here in TFS.items()}
    count, request_latency, runtime_latency, runs, loads = families.values()
    for (model, status), number in sorted(requests.items()):
        count.add_sample(count.name, {"model_name": model, "status": status}, number)
    for family, histograms in ((request_latency, latency), (runtime_latency, runtime)):
        family.type = "histogram"
        for model, histogram in sorted(histograms.items()):
            _add_histogram(family, {"model_name": model}, histogram)
    runs.add_sample(runs.name, {}, sum(_batches(counts) for _, counts in counted))
    for (model, result), attempts in sorted(loads_done.items()):
        status = "success" if result == "ready" else "fail"
        loads.add_sample(loads.name, {"model_path": model, "status": status}, attempts.count)
    yield from families.values()


def _status(code: int) -> str:
    return STATUS.get(code, "INTERNAL" if code >= 500 else "INVALID_ARGUMENT")


def _add_histogram(family: Metric, labels: dict[str, str], histogram: Histogram) -> None:
    """Add a histogram of seconds in microseconds."""
    buckets, total = histogram.samples()
    for bound, number in buckets:
        le = bound if bound == "+Inf" else f"{MICROSECONDS * float(bound):g}"
        family.add_sample(f"{family.name}_bucket", {**labels, "le": le}, number)
    family.add_sample(f"{family.name}_sum", labels, MICROSECONDS * total)
    family.add_sample(f"{family.name}_count", labels, buckets[-1][1])
