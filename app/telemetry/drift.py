"""Metrics of drift: how far what a version answers differs from its training data."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
from prometheus_client.core import GaugeMetricFamily, Metric

from app.drift.bins import Floats
from app.drift.stability import LEAST_ROWS, stability_index
from app.drift.watch import DriftWatch
from app.telemetry.counts import VERSION_LABELS


@dataclass(slots=True)
class Drift:
    """The sampled rows of one version, of one process or of several.

    Attributes:
        expected: (kind, tensor) -> float64 (bins,), shares among the training rows, and the number of these rows.
        counts: (kind, tensor) -> float64 (bins,), served rows in the window.
    """

    expected: dict[tuple[str, str], tuple[Floats, int]] = field(default_factory=dict)
    counts: dict[tuple[str, str], Floats] = field(default_factory=dict)

    @classmethod
    def of(cls, watch: DriftWatch) -> Self:
        """The rows of this process."""
        drift = cls()
        drift.merge(watch.snapshot())
        return drift

    def snapshot(self) -> list[dict[str, Any]]:
        """All of it, for JSON; ``merge`` reads it."""
        return [
            {
                "kind": key[0],
                "name": key[1],
                "expected": expected.tolist(),
                "expected_rows": rows,
                "counts": self.counts[key].tolist(),
            }
            for key, (expected, rows) in self.expected.items()
        ]

    def merge(self, measures: Sequence[Mapping[str, Any]]) -> None:
        """Add the rows of a process, as ``DriftWatch.snapshot`` has them."""
        for each in measures:
            key = each["kind"], each["name"]
            self.expected[key] = np.array(each["expected"]), each["expected_rows"]
            counts = np.array(each["counts"])
            self.counts[key] = self.counts[key] + counts if key in self.counts else counts


def drift_families(drifts: Mapping[tuple[str, int], Drift]) -> Iterator[Metric]:
    """The metrics of drift.

    Args:
        drifts: (model, version) -> its sampled rows.
    """
    labels = [*VERSION_LABELS, "kind", "name"]
    score = GaugeMetricFamily(
        "atelier_drift_score",
        f"Population stability index of served rows against the training data; from {LEAST_ROWS} rows on.",
        labels=labels,
    )
    rows = GaugeMetricFamily("atelier_drift_rows", "Sampled rows that the score is computed from.", labels=labels)
    for (name, version), drift in sorted(drifts.items()):
        for key, counts in drift.counts.items():
            values = [name, str(version), *key]
            rows.add_metric(values, round(float(counts.sum())))
            if counts.sum() >= LEAST_ROWS - 0.5:  # parts of rows may add up to a little less than a whole
                score.add_metric(values, stability_index(*drift.expected[key], counts))
    yield from (score, rows)
