"""Metrics of canaries and devices, as families of samples."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from app.loaded import LoadedModel
from app.rollout.comparison import DISTANCES, Comparison
from app.telemetry.counts import VERSION_LABELS
from app.telemetry.sums import Histogram


@dataclass(frozen=True, slots=True)
class Facts:
    """Facts about a loaded version other than its counts.

    Attributes:
        devices: its devices.
        golden_difference: largest difference from Keras at load; None without golden samples.
        degraded: its device fails or its backend hangs, in at least one process.
        memory_bytes: that it takes, in all processes together.
    """

    devices: Sequence[str]
    golden_difference: float | None
    degraded: bool
    memory_bytes: int

    def merged_with(self, known: "Facts | None") -> "Facts":
        """Merge the facts of one process with those of others."""
        if known is None:
            return self
        return Facts(
            devices=sorted({*self.devices, *known.devices}),
            golden_difference=max(
                (each for each in (self.golden_difference, known.golden_difference) if each is not None), default=None
            ),
            degraded=self.degraded or known.degraded,
            memory_bytes=self.memory_bytes + known.memory_bytes,
        )


def facts_of(model: LoadedModel) -> Facts:
    """The facts of a version of this process."""
    instances = model.instances
    return Facts(instances.devices, model.golden_difference, bool(instances.degraded), model.memory_bytes)


def fact_families(facts: Mapping[tuple[str, int], Facts]) -> Iterator[Metric]:
    """The metrics of loaded versions."""
    golden = GaugeMetricFamily(
        "atelier_golden_difference",
        "Largest difference from Keras in the golden samples when the version was loaded.",
        labels=VERSION_LABELS,
    )
    verified = GaugeMetricFamily(
        "atelier_model_verified",
        "1 if the version gave the answers of its golden samples when it was loaded, 0 if it has none.",
        labels=VERSION_LABELS,
    )
    device = GaugeMetricFamily(
        "atelier_model_device", "1 for each device that a version was placed on.", labels=[*VERSION_LABELS, "device"]
    )
    degraded = GaugeMetricFamily(
        "atelier_model_degraded",
        "1 while a version does not run as placed, because its device fails or its backend does not return.",
        labels=VERSION_LABELS,
    )
    memory = GaugeMetricFamily(
        "atelier_model_memory_bytes",
        "Memory that a loaded version takes; --model-memory-limit-mb limits the sum.",
        labels=VERSION_LABELS,
    )
    for (name, version), known in sorted(facts.items()):
        labels = [name, str(version)]
        verified.add_metric(labels, float(known.golden_difference is not None))
        if known.golden_difference is not None:
            golden.add_metric(labels, known.golden_difference)
        for each in known.devices:
            device.add_metric([*labels, each], 1)
        degraded.add_metric(labels, float(known.degraded))
        memory.add_metric(labels, known.memory_bytes)
    yield from (golden, verified, device, degraded, memory)


def canary_families(compared: Mapping[tuple[str, int, int], tuple[Comparison, bool]]) -> Iterator[Metric]:
    """The metrics of canaries.

    Args:
        compared: (model, stable, canary) -> comparison, and whether the canary is halted.
    """
    copies = CounterMetricFamily(
        "atelier_shadow_copies",
        "Copies of requests for the canary, by result: ran, failed or dropped.",
        labels=[*VERSION_LABELS, "result"],
    )
    rows = CounterMetricFamily(
        "atelier_shadow_rows",
        "Instances that the canary answered after stable, by whether the answers agreed.",
        labels=[*VERSION_LABELS, "result"],
    )
    distance = HistogramMetricFamily(
        "atelier_shadow_score_distance",
        "Distance of the canary's scores from stable's; the largest difference of each instance.",
        labels=VERSION_LABELS,
    )
    seconds = CounterMetricFamily(
        "atelier_shadow_compute_seconds",
        "Seconds of computing the copied requests, by version.",
        labels=[*VERSION_LABELS, "by"],
    )
    halted = GaugeMetricFamily(
        "atelier_canary_halted",
        "1 if a canary exceeded a limit and gets no requests.",
        labels=VERSION_LABELS,
    )
    for (name, _, canary), (seen, is_halted) in compared.items():
        labels = [name, str(canary)]
        copies.add_metric([*labels, "ran"], seen.copies - seen.copy_errors)
        copies.add_metric([*labels, "failed"], seen.copy_errors)
        copies.add_metric([*labels, "dropped"], seen.dropped)
        rows.add_metric([*labels, "agreed"], seen.agreed)
        rows.add_metric([*labels, "differed"], seen.rows - seen.agreed)
        distances = Histogram(DISTANCES)
        distances.merge([*seen.distances, seen.distance_sum])
        distance.add_metric(labels, *distances.samples())
        seconds.add_metric([*labels, "stable"], seen.stable_s)
        seconds.add_metric([*labels, "canary"], seen.canary_s)
        halted.add_metric(labels, float(is_halted))
    yield from (copies, rows, distance, seconds, halted)
