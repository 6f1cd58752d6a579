"""The charts of the dashboards: titles, expressions of Prometheus and units."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Panel:
    """One chart.

    Attributes:
        title: what it shows.
        queries: expression -> legend, such as ``{{model}}``.
        unit: of Grafana: ``reqps``, ``s``, ``percentunit``, ``bytes``, ``short``.
    """

    title: str
    queries: dict[str, str]
    unit: str


SERVICE = (
    Panel(
        "Requests by status",
        {'sum by (code) (rate(atelier_requests_total{instance=~"$instance"}[$__rate_interval]))': "{{code}}"},
        "reqps",
    ),
    Panel(
        "Requests by model",
        {'sum by (model) (rate(atelier_requests_total{instance=~"$instance"}[$__rate_interval]))': "{{model}}"},
        "reqps",
    ),
    Panel(
        "Time of a request",
        {
            f"histogram_quantile({quantile}, sum by (le) "
            '(rate(atelier_request_seconds_bucket{instance=~"$instance"}[$__rate_interval])))': f"p{100 * quantile:g}"
            for quantile in (0.5, 0.9, 0.99)
        },
        "s",
    ),
    Panel(
        "Share that failed (5xx) or was refused (429)",
        {
            'sum(rate(atelier_requests_total{instance=~"$instance", code=~"5.."}[$__rate_interval])) '
            '/ sum(rate(atelier_requests_total{instance=~"$instance"}[$__rate_interval])) or vector(0)': "failed",
            'sum(rate(atelier_requests_total{instance=~"$instance", code="429"}[$__rate_interval])) '
            '/ sum(rate(atelier_requests_total{instance=~"$instance"}[$__rate_interval])) or vector(0)': "refused",
        },
        "percentunit",
    ),
    Panel("Ready", {'atelier_ready{instance=~"$instance"}': "{{instance}}"}, "short"),
    Panel(
        "Versions by state",
        {'sum by (state) (atelier_model_state{instance=~"$instance"})': "{{state}}"},
        "short",
    ),
    Panel(
        "Instances that wait",
        {'sum by (model) (atelier_queued_rows{instance=~"$instance"})': "{{model}}"},
        "short",
    ),
    Panel(
        "Loads of versions in an hour",
        {'sum by (result) (increase(atelier_model_loads_total{instance=~"$instance"}[1h]))': "{{result}}"},
        "short",
    ),
    Panel(
        "Memory",
        {
            'process_resident_memory_bytes{job="atelier", instance=~"$instance"}': "resident {{instance}}",
            'sum by (instance) (atelier_model_memory_bytes{instance=~"$instance"})': "models {{instance}}",
        },
        "bytes",
    ),
    Panel(
        "Processor time",
        {
            'rate(process_cpu_seconds_total{job="atelier", instance=~"$instance"}[$__rate_interval])': (
                "cores {{instance}}"
            )
        },
        "short",
    ),
    Panel(
        "Workers",
        {
            'atelier_workers{instance=~"$instance"}': "answer {{instance}}",
            'increase(atelier_worker_restarts_total{instance=~"$instance"}[1h])': "restarts in an hour {{instance}}",
        },
        "short",
    ),
    Panel(
        "GPUs: used",
        {
            'atelier_gpu_utilization_ratio{instance=~"$instance"}': "{{device}} busy",
            'atelier_gpu_memory_used_bytes{instance=~"$instance"} / atelier_gpu_memory_total_bytes': (
                "{{device}} memory"
            ),
        },
        "percentunit",
    ),
)
MODEL = (
    Panel(
        "Requests by version",
        {'sum by (version) (rate(atelier_requests_total{model=~"$model"}[$__rate_interval]))': "version {{version}}"},
        "reqps",
    ),
    Panel(
        "Requests by protocol and status",
        {
            'sum by (protocol, code) (rate(atelier_requests_total{model=~"$model"}[$__rate_interval]))': (
                "{{protocol}} {{code}}"
            )
        },
        "reqps",
    ),
    Panel(
        "Time of a request",
        {
            f"histogram_quantile({quantile}, sum by (le, version) "
            '(rate(atelier_request_seconds_bucket{model=~"$model"}[$__rate_interval])))': f"p{100 * quantile:g}, "
            "version {{version}}"
            for quantile in (0.5, 0.99)
        },
        "s",
    ),
    Panel(
        "Where the time goes",
        {
            'sum by (stage) (rate(atelier_stage_seconds_sum{model=~"$model"}[$__rate_interval])) '
            '/ sum by (stage) (rate(atelier_stage_seconds_count{model=~"$model"}[$__rate_interval]))': "{{stage}}"
        },
        "s",
    ),
    Panel(
        "Instances in a batch, mean",
        {
            'sum by (version) (rate(atelier_batch_rows_sum{model=~"$model"}[$__rate_interval])) '
            '/ sum by (version) (rate(atelier_batch_rows_count{model=~"$model"}[$__rate_interval]))': (
                "version {{version}}"
            )
        },
        "short",
    ),
    Panel(
        "Why batches close",
        {'sum by (reason) (rate(atelier_batches_total{model=~"$model"}[$__rate_interval]))': "{{reason}}"},
        "short",
    ),
    Panel(
        "Time of a batch, mean",
        {
            'sum by (version) (rate(atelier_batch_seconds_sum{model=~"$model"}[$__rate_interval])) '
            '/ sum by (version) (rate(atelier_batch_seconds_count{model=~"$model"}[$__rate_interval]))': (
                "version {{version}}"
            )
        },
        "s",
    ),
    Panel(
        "Padding of a batch, mean",
        {
            'sum(rate(atelier_batch_padding_ratio_sum{model=~"$model"}[$__rate_interval])) '
            '/ sum(rate(atelier_batch_padding_ratio_count{model=~"$model"}[$__rate_interval]))': "padding"
        },
        "percentunit",
    ),
    Panel(
        "Instances that wait",
        {'sum by (version) (atelier_queued_rows{model=~"$model"})': "version {{version}}"},
        "short",
    ),
    Panel(
        "Largest difference from the golden samples",
        {'max by (version) (atelier_golden_difference{model=~"$model"})': "version {{version}}"},
        "short",
    ),
    Panel(
        "Drift from the training data (0.25 is a large shift)",
        {'max by (version, kind) (atelier_drift_score{model=~"$model"})': "{{kind}}, version {{version}}"},
        "short",
    ),
    Panel(
        "Memory of the model",
        {'sum by (version) (atelier_model_memory_bytes{model=~"$model"})': "version {{version}}"},
        "bytes",
    ),
    Panel(
        "Degraded, or batches that hang",
        {
            'max by (version) (atelier_model_degraded{model=~"$model"})': "degraded, version {{version}}",
            'sum by (version) (increase(atelier_hung_batches_total{model=~"$model"}[1h]))': (
                "hung in an hour, version {{version}}"
            ),
        },
        "short",
    ),
)
ROLLOUT = (
    Panel(
        "Requests by version",
        {'sum by (version) (rate(atelier_requests_total{model=~"$model"}[$__rate_interval]))': "version {{version}}"},
        "reqps",
    ),
    Panel(
        "Share of instances on which the canary differs",
        {
            'sum by (version) (rate(atelier_shadow_rows_total{model=~"$model", result="differed"}[$__rate_interval])) '
            '/ sum by (version) (rate(atelier_shadow_rows_total{model=~"$model"}[$__rate_interval]))': (
                "version {{version}}"
            )
        },
        "percentunit",
    ),
    Panel(
        "Distance of its scores",
        {
            f"histogram_quantile({quantile}, sum by (le, version) "
            '(rate(atelier_shadow_score_distance_bucket{model=~"$model"}[$__rate_interval])))': f"p{100 * quantile:g}"
            for quantile in (0.5, 0.99)
        },
        "short",
    ),
    Panel(
        "Copies for the canary",
        {
            'sum by (result) (rate(atelier_shadow_copies_total{model=~"$model"}[$__rate_interval]))': "{{result}}",
        },
        "reqps",
    ),
    Panel(
        "Computing the same requests",
        {
            'sum by (by) (rate(atelier_shadow_compute_seconds_total{model=~"$model"}[$__rate_interval]))': "{{by}}",
        },
        "s",
    ),
    Panel("Halted", {'max by (version) (atelier_canary_halted{model=~"$model"})': "version {{version}}"}, "short"),
    Panel(
        "Recorded instances, and right answers",
        {
            'sum(rate(atelier_recorded_rows_total{model=~"$model"}[$__rate_interval]))': "recorded",
            'sum(rate(atelier_feedback_total{model=~"$model"}[$__rate_interval]))': "right answers",
            'sum(rate(atelier_recording_dropped_rows_total{model=~"$model"}[$__rate_interval])) or vector(0)': (
                "dropped"
            ),
        },
        "short",
    ),
)
