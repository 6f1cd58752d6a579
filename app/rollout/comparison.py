"""How the answers of a canary compare with those of the stable version."""

from dataclasses import dataclass, field, fields

import numpy as np

from app.batching.work import Answer
from app.runtime.backend import row_count

# Numbers that are not scores agree if they differ by less than this relative or this absolute tolerance.
RELATIVE, ABSOLUTE = 1e-2, 1e-3
# Inclusive upper bounds of the intervals in which distances of scores are counted.
DISTANCES = (1e-6, 1e-5, 1e-4, 1e-3, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)


@dataclass(slots=True)
class Comparison:
    """Counts of a canary and of its comparison with the stable version.

    Attributes:
        requests, errors: real requests that it answered, and those of them that it failed (status 500 and above).
        copies, copy_errors, dropped: copied requests that it ran, that it failed, and that were not run at all.
        rows, agreed: instances compared, and those with the same answer.
        distance_sum, distance_max: of the instances' scores; the distance of one is its largest difference.
        distances: instances whose distance is in each interval of DISTANCES; the last one has those beyond.
        stable_s, canary_s: seconds of computing the compared requests.
    """

    requests: int = 0
    errors: int = 0
    copies: int = 0
    copy_errors: int = 0
    dropped: int = 0
    rows: int = 0
    agreed: int = 0
    distance_sum: float = 0.0
    distance_max: float = 0.0
    distances: list[int] = field(default_factory=lambda: [0] * (len(DISTANCES) + 1))
    stable_s: float = 0.0
    canary_s: float = 0.0

    @property
    def error_rate(self) -> float:
        """Share of real and copied requests that failed."""
        asked = self.requests + self.copies
        return (self.errors + self.copy_errors) / asked if asked else 0.0

    @property
    def disagreement(self) -> float:
        """Share of compared instances with different answers."""
        return 1 - self.agreed / self.rows if self.rows else 0.0

    def add(self, stable: Answer, canary: Answer, scores: str | None) -> None:
        """Compare the answers to one request.

        Args:
            stable: output name -> (rows, *shape).
            canary: likewise.
            scores: output with one score per class, whose best one is the answer; None compares all numbers, and
                strings, of which different ones have the distance 1.
        """
        names = [scores] if scores is not None else list(stable)
        rows = row_count(stable)
        agreed, distance = np.ones(rows, bool), np.zeros(rows)
        for name in names:
            if stable[name].dtype.kind == "O":  # strings
                equal = (stable[name] == canary[name]).reshape(rows, -1).all(axis=1)
                agreed &= equal
                distance = np.maximum(distance, ~equal)
                continue
            one = np.asarray(stable[name], np.float64).reshape(rows, -1)
            other = np.asarray(canary[name], np.float64).reshape(rows, -1)
            distance = np.maximum(distance, np.abs(one - other).max(axis=1))
            if scores is not None:
                agreed &= one.argmax(axis=1) == other.argmax(axis=1)
            else:
                agreed &= np.isclose(other, one, rtol=RELATIVE, atol=ABSOLUTE).all(axis=1)
        self.rows += rows
        self.agreed += int(agreed.sum())
        self.distance_sum += float(distance.sum())
        self.distance_max = max(self.distance_max, float(distance.max()))
        for place in np.searchsorted(DISTANCES, distance, side="left").tolist():
            self.distances[place] += 1

    def distance_at(self, share: float) -> float:
        """The distance that this share of the instances does not exceed, estimated from the intervals.

        Args:
            share: 0 to 1, 0.99 for the 99th percentile.

        Returns:
            By linear interpolation within an interval, as Prometheus' histogram_quantile has it, and never more than
            the largest distance; 0 if nothing was compared.
        """
        rank, below = share * self.rows, 0
        for place, count in enumerate(self.distances[:-1]):
            if count and below + count >= rank:
                lower = DISTANCES[place - 1] if place else 0.0
                return min(self.distance_max, lower + (DISTANCES[place] - lower) * (rank - below) / count)
            below += count
        return self.distance_max

    def merge(self, other: "Comparison") -> None:
        """Add the counts of another process for the same two versions."""
        for each in fields(self):
            if each.name not in {"distance_max", "distances"}:
                setattr(self, each.name, getattr(self, each.name) + getattr(other, each.name))
        self.distance_max = max(self.distance_max, other.distance_max)
        self.distances = [own + count for own, count in zip(self.distances, other.distances, strict=True)]
