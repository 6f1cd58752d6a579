"""Every metric: its name, its labels, and the samples of one scrape."""

import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from app import __version__
from app.serving.model import LoadedModel
from app.serving.versions import State
from app.serving.work import Timings
from app.telemetry.counts import Duration, VersionMetrics

if TYPE_CHECKING:
    from app.serving.rollout import Rollout

VERSION_LABELS = ["model", "version"]


class Metrics(Collector):
    """All metrics of the process; register it with a CollectorRegistry.

    Args:
        wall_clock: seconds since 1970, for the time of the last inference.
    """

    def __init__(self, *, wall_clock: Callable[[], float] = time.time) -> None:
        self._wall_clock = wall_clock
        self._versions: dict[tuple[str, int], VersionMetrics] = {}
        self._states: dict[tuple[str, str], State] = {}
        self._unknown: dict[tuple[str, int], int] = {}
        self._loads: dict[tuple[str, str], Duration] = {}
        # The canaries that are tried and the versions that are ready; set by who wires the service.
        self.rollouts: Callable[[], Sequence[Rollout]] = tuple
        self.loaded: Callable[[], Sequence[LoadedModel]] = tuple

    def statistics(self, name: str, version: int) -> dict[str, Any]:
        """Counts of one version; implements ``serving.describe.Statistics``."""
        return self.for_version(name, version).statistics()

    def for_version(self, name: str, version: int) -> VersionMetrics:
        """The counts of a model version; the same object every time."""
        key = (name, version)
        found = self._versions.get(key)
        if found is None:  # on the hot path: not made in vain
            found = self._versions[key] = VersionMetrics()
        return found

    def load_done(self, name: str, succeeded: bool, seconds: float) -> None:
        """Count an attempt to load a version."""
        self._loads.setdefault((name, "ready" if succeeded else "refused"), Duration()).add(seconds)

    def set_state(self, name: str, version: int, state: State | None) -> None:
        """Note the state of a version; None says that it is gone."""
        if state is None:
            self._states.pop((name, str(version)), None)
        else:
            self._states[(name, str(version))] = state

    def request_done(
        self, *, model: LoadedModel | None, protocol: str, code: int, seconds: float, timings: Timings
    ) -> None:
        """Count an inference request; implements ``edge.dispatch.RequestObserver``."""
        if model is None:  # the name came from the client: never a label
            self._unknown[protocol, code] = self._unknown.get((protocol, code), 0) + 1
            return
        counts = self.for_version(model.name, model.version)
        counts.requests[protocol, code] = counts.requests.get((protocol, code), 0) + 1
        if code == 200:
            counts.last_inference_s = self._wall_clock()
            counts.answered(seconds, timings)
        else:
            counts.request_seconds.observe(seconds)
            counts.fail.add(seconds)

    def collect(self) -> Iterator[Metric]:
        """The samples of one scrape."""
        info = GaugeMetricFamily("atelier_build_info", "Version of the service; always 1.", labels=["version"])
        info.add_metric([__version__], 1)
        yield info
        yield from self._counters()
        yield from self._canaries()
        yield from self._histograms()
        yield from self._gauges()

    def _counters(self) -> Iterator[Metric]:
        requests = CounterMetricFamily(
            "atelier_requests",
            "Inference requests by status code; model is empty when none serves under the name asked for.",
            labels=[*VERSION_LABELS, "protocol", "code"],
        )
        closed = CounterMetricFamily(
            "atelier_batches", "Backend calls by why they closed.", labels=[*VERSION_LABELS, "reason"]
        )
        dropped = CounterMetricFamily(
            "atelier_dropped_rows",
            "Instances that left the queue without being run.",
            labels=[*VERSION_LABELS, "reason"],
        )
        loads = CounterMetricFamily(
            "atelier_model_loads",
            "Attempts to load a version, by what came of it: ready or refused.",
            labels=["model", "result"],
        )
        seconds = CounterMetricFamily(
            "atelier_model_load_seconds", "Seconds that these attempts took.", labels=["model", "result"]
        )
        for (model, result), duration in sorted(self._loads.items()):
            loads.add_metric([model, result], duration.count)
            seconds.add_metric([model, result], duration.seconds)
        for (protocol, code), count in sorted(self._unknown.items()):
            requests.add_metric(["", "", protocol, str(code)], count)
        for labels, counts in self._each():
            for (protocol, code), count in sorted(counts.requests.items()):
                requests.add_metric([*labels, protocol, str(code)], count)
            for reason, count in sorted(counts.closed.items()):
                closed.add_metric([*labels, reason], count)
            for reason, count in sorted(counts.dropped.items()):
                dropped.add_metric([*labels, reason], count)
        yield from (requests, closed, dropped, loads, seconds)

    def _canaries(self) -> Iterator[Metric]:
        copies = CounterMetricFamily(
            "atelier_shadow_copies",
            "Copies of requests for the canary, by what came of them: ran, failed or dropped.",
            labels=[*VERSION_LABELS, "result"],
        )
        rows = CounterMetricFamily(
            "atelier_shadow_rows",
            "Instances that the canary answered after stable, by whether it agreed.",
            labels=[*VERSION_LABELS, "result"],
        )
        distance = CounterMetricFamily(
            "atelier_shadow_score_distance", "Sum of the instances' largest differences.", labels=VERSION_LABELS
        )
        seconds = CounterMetricFamily(
            "atelier_shadow_compute_seconds",
            "Seconds of computing the copied requests, by who computed.",
            labels=[*VERSION_LABELS, "by"],
        )
        halted = GaugeMetricFamily(
            "atelier_canary_halted",
            "1 if a canary has passed a limit and gets nothing.",
            labels=VERSION_LABELS,
        )
        for rollout in self.rollouts():
            labels, seen = [rollout.canary.name, str(rollout.canary.version)], rollout.comparison
            copies.add_metric([*labels, "ran"], seen.copies - seen.copy_errors)
            copies.add_metric([*labels, "failed"], seen.copy_errors)
            copies.add_metric([*labels, "dropped"], seen.dropped)
            rows.add_metric([*labels, "agreed"], seen.agreed)
            rows.add_metric([*labels, "differed"], seen.rows - seen.agreed)
            distance.add_metric(labels, seen.distance_sum)
            seconds.add_metric([*labels, "stable"], seen.stable_s)
            seconds.add_metric([*labels, "canary"], seen.canary_s)
            halted.add_metric(labels, float(rollout.reason is not None))
        yield from (copies, rows, distance, seconds, halted)

    def _histograms(self) -> Iterator[Metric]:
        families = {
            "request_seconds": ("atelier_request_seconds", "Seconds from the request's head to its reply."),
            "batch_rows": ("atelier_batch_rows", "Instances per backend call."),
            "batch_seconds": ("atelier_batch_seconds", "Seconds per backend call."),
            "padding_ratio": ("atelier_batch_padding_ratio", "Share of a batch that pads shorter rows to the longest."),
        }
        for attribute, (name, text) in families.items():
            family = HistogramMetricFamily(name, text, labels=VERSION_LABELS)
            for labels, counts in self._each():
                buckets, total = getattr(counts, attribute).samples()
                family.add_metric(labels, buckets, total)
            yield family
        stages = HistogramMetricFamily(
            "atelier_stage_seconds", "Seconds of answered requests by stage.", labels=[*VERSION_LABELS, "stage"]
        )
        for labels, counts in self._each():
            for stage, histogram in counts.stage_seconds.items():
                buckets, total = histogram.samples()
                stages.add_metric([*labels, stage], buckets, total)
        yield stages

    def _gauges(self) -> Iterator[Metric]:
        rows = GaugeMetricFamily("atelier_queued_rows", "Instances waiting for a backend call.", labels=VERSION_LABELS)
        nbytes = GaugeMetricFamily("atelier_queued_bytes", "Bytes of inputs waiting.", labels=VERSION_LABELS)
        for labels, counts in self._each():
            rows.add_metric(labels, counts.queued_rows)
            nbytes.add_metric(labels, counts.queued_bytes)
        yield from (rows, nbytes)
        golden = GaugeMetricFamily(
            "atelier_golden_difference",
            "Largest difference from Keras that the golden samples showed when the version was loaded.",
            labels=VERSION_LABELS,
        )
        for model in self.loaded():
            golden.add_metric([model.name, str(model.version)], model.golden_difference)
        yield golden
        states = GaugeMetricFamily(
            "atelier_model_state", "1 for the state that a version is in.", labels=[*VERSION_LABELS, "state"]
        )
        for version, current in sorted(self._states.items()):
            for state in State:
                states.add_metric([*version, state], float(state is current))
        yield states
        yield from self._devices()

    def _devices(self) -> Iterator[Metric]:
        device = GaugeMetricFamily(
            "atelier_model_device", "1 for the device that a version was placed on.", labels=[*VERSION_LABELS, "device"]
        )
        degraded = GaugeMetricFamily(
            "atelier_model_degraded",
            "1 while a version does not run as placed, because its device fails.",
            labels=VERSION_LABELS,
        )
        faults = CounterMetricFamily(
            "atelier_device_faults", "Batches in which a version's device failed.", labels=VERSION_LABELS
        )
        for model in self.loaded():
            labels = [model.name, str(model.version)]
            device.add_metric([*labels, model.placement.device], 1)
            degraded.add_metric(labels, float(bool(model.condition.degraded)))
            faults.add_metric(labels, model.condition.faults)
        yield from (device, degraded, faults)

    def _each(self) -> Iterator[tuple[list[str], VersionMetrics]]:
        for (name, version), counts in sorted(self._versions.items()):
            counts.fold()
            yield [name, str(version)], counts
