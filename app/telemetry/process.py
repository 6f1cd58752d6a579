"""The metrics of Prometheus' standard process collectors, summed over several processes."""

from collections.abc import Iterator, Sequence
from typing import Any

from prometheus_client import CollectorRegistry, GCCollector, ProcessCollector
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

# The minimum counts: the service has run since its first process started.
_LEAST = {"process_start_time_seconds"}


class ProcessMetrics(Collector):
    """``process_*`` and ``python_gc_*`` of all merged processes: sums, except the earliest start."""

    def __init__(self) -> None:
        self._families: dict[str, tuple[str, str]] = {}
        self._samples: dict[str, dict[tuple[str, tuple[tuple[str, str], ...]], float]] = {}

    def merge(self, snapshot: Sequence[Any], *, ended: bool = False) -> None:
        """Add a process, see ``OwnProcess``; if it has ``ended``, only the values that never decrease."""
        for name, text, kind, samples in snapshot:
            if ended and kind != "counter":
                continue
            self._families[name] = (text, kind)
            known = self._samples.setdefault(name, {})
            for sample, labels, value in samples:
                key = (sample, tuple(sorted(labels.items())))
                if key not in known:
                    known[key] = value
                else:
                    known[key] = min(known[key], value) if name in _LEAST else known[key] + value

    def snapshot(self) -> list[Any]:
        """All values, for JSON, in the form of ``OwnProcess``."""
        return [
            [name, *self._families[name], [[sample, dict(labels), value] for (sample, labels), value in found.items()]]
            for name, found in self._samples.items()
        ]

    def collect(self) -> Iterator[Metric]:
        """The samples of one scrape."""
        for name, found in self._samples.items():
            family = Metric(name, *self._families[name])
            for (sample, labels), value in found.items():
                family.add_sample(sample, dict(labels), value)
            yield family


class OwnProcess:
    """Reads the standard collectors of this process."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        for collector in (ProcessCollector, GCCollector):
            collector(registry=self._registry)

    def snapshot(self) -> list[Any]:
        """For JSON: families as [name, help, type, [[sample, labels, value], ...]]."""
        return [
            [family.name, family.documentation, family.type, [[s.name, s.labels, s.value] for s in family.samples]]
            for family in self._registry.collect()
        ]
