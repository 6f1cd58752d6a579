"""What a service did between two readings of its metrics, for each version."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from prometheus_client import Metric

Buckets = dict[float, float]


@dataclass(slots=True)
class Counts:
    """Counts of one version since its start, and its state.

    Attributes:
        requests, failed: answered requests, and those of them with a code of 400 or more.
        buckets: upper bound in seconds -> requests that took at most as long.
        rows, batches: instances and batches.
        reasons: why batches closed -> batches.
        queued: instances that wait now.
        state, devices: in words.
        drift: the largest index; None without any.
    """

    requests: float = 0.0
    failed: float = 0.0
    buckets: Buckets = field(default_factory=dict)
    rows: float = 0.0
    batches: float = 0.0
    reasons: dict[str, float] = field(default_factory=dict)
    queued: float = 0.0
    state: str = ""
    devices: list[str] = field(default_factory=list)
    drift: float | None = None


@dataclass(frozen=True, slots=True)
class Rates:
    """What one version did between two readings.

    Attributes:
        requests, failed: a second.
        p50_ms, p99_ms: of the time of a request; None without requests.
        batch_rows: instances of a batch, as a mean; None without batches.
    """

    requests: float
    failed: float
    p50_ms: float | None
    p99_ms: float | None
    batch_rows: float | None


def counts_of(families: Iterable[Metric], *, with_unknown: bool = False) -> dict[tuple[str, str], Counts]:
    """(model, version) -> its counts, from the metrics of the service.

    Args:
        families: the metrics.
        with_unknown: include ("", ""): requests for models of which no version serves, if there were any.
    """
    found: dict[tuple[str, str], Counts] = defaultdict(Counts)
    for family in families:
        if not family.name.startswith("atelier_"):
            continue
        for sample in family.samples:
            labels = sample.labels
            is_unknown = with_unknown and sample.name == "atelier_requests_total" and not labels.get("model")
            if is_unknown or (labels.get("model") and labels.get("version")):
                _add(found[labels["model"], labels["version"]], sample.name, labels, float(sample.value))
    return dict(found)


def _add(counts: Counts, name: str, labels: Mapping[str, str], value: float) -> None:
    match name:
        case "atelier_requests_total":
            counts.requests += value
            counts.failed += value if labels["code"] >= "400" else 0
        case "atelier_request_seconds_bucket":
            counts.buckets[float(labels["le"])] = value
        case "atelier_batch_rows_sum":
            counts.rows = value
        case "atelier_batch_rows_count":
            counts.batches = value
        case "atelier_batches_total":
            counts.reasons[labels["reason"]] = value
        case "atelier_queued_rows":
            counts.queued = value
        case "atelier_drift_score":
            counts.drift = max(value, counts.drift or 0.0)
        case "atelier_model_state" if value:
            counts.state = labels["state"]
        case "atelier_model_device" if value:
            counts.devices.append(labels["device"])


def rates_between(before: Counts, now: Counts, seconds: float) -> Rates:
    """What happened in so many seconds; a version that was loaded again starts from 0."""
    if now.requests < before.requests:
        before = Counts()
    waited = {bound: count - before.buckets.get(bound, 0.0) for bound, count in now.buckets.items()}
    batches = now.batches - before.batches
    return Rates(
        requests=(now.requests - before.requests) / seconds,
        failed=(now.failed - before.failed) / seconds,
        p50_ms=_quantile_ms(waited, 0.5),
        p99_ms=_quantile_ms(waited, 0.99),
        batch_rows=(now.rows - before.rows) / batches if batches > 0 else None,
    )


def _quantile_ms(buckets: Buckets, share: float) -> float | None:
    """As Prometheus' ``histogram_quantile``: linear within a bucket; the lower bound of the last one."""
    bounds = sorted(buckets)
    if not bounds or buckets[bounds[-1]] <= 0:
        return None
    rank, below, counted = share * buckets[bounds[-1]], 0.0, 0.0
    for bound in bounds:
        if buckets[bound] >= rank:
            if bound == float("inf"):
                return 1e3 * below
            inside = buckets[bound] - counted
            return 1e3 * (below + (bound - below) * ((rank - counted) / inside if inside else 1.0))
        below, counted = bound, buckets[bound]
    return 1e3 * below
