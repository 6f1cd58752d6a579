"""The counts of all worker processes together, instead of those of one."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from prometheus_client import CollectorRegistry, PlatformCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from app.telemetry.metrics import Metrics
from app.telemetry.process import ProcessMetrics

if TYPE_CHECKING:
    from app.rollout.canary import Rollout
    from app.rollout.comparison import Comparison


class SummedMetrics(Collector):
    """The sums over all processes, as one process reports them; implements ``control.describe.Statistics``.

    Args:
        document: "metrics" and "process" as in their classes' ``snapshot``; "serving": workers that answer;
            "restarts": workers that replaced another; "requests": [worker, inference requests].
    """

    def __init__(self, document: Mapping[str, Any]) -> None:
        self._document = document
        self._metrics = Metrics()
        self._metrics.merge(document["metrics"])
        self._process = ProcessMetrics()
        self._process.merge(document["process"])

    def statistics(self, name: str, version: int) -> dict[str, Any]:
        """Counts of one version."""
        return self._metrics.statistics(name, version)

    def comparison(self, rollout: "Rollout") -> "Comparison":
        """The comparison of a canary."""
        return self._metrics.comparison(rollout)

    def collect(self) -> Iterator[Metric]:
        """The samples of one scrape."""
        yield from self._metrics.collect()
        yield from self._process.collect()
        yield from PlatformCollector(registry=CollectorRegistry()).collect()
        yield GaugeMetricFamily(
            "atelier_workers", "Worker processes that answer requests.", value=self._document["serving"]
        )
        yield CounterMetricFamily(
            "atelier_worker_restarts",
            "Worker processes started to replace one that ended.",
            value=self._document["restarts"],
        )
        requests = CounterMetricFamily(
            "atelier_worker_requests", "Inference requests by the worker that answered.", labels=["worker"]
        )
        for worker, count in self._document["requests"]:
            requests.add_metric([str(worker)], count)
        yield requests
