"""Hot reloads under constant load: their cost for requests, and whether the service returns their memory."""

import shutil
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.soak.changes import Changes
from benchmarks.soak.leak import Growth, measure_growth
from benchmarks.soak.requests import asks_for
from benchmarks.soak.service import SERVE, Size, serving
from benchmarks.soak.traffic import Tally, Traffic

SETTLED_AFTER = 50
"""Number of reloads before memory is judged: the allocator fills its arenas first."""
SLOPE_LIMIT_MB = 0.05
SETTLES_S = 3.0
"""Seconds without load after which the service has returned unused memory."""


@dataclass(frozen=True)
class Rates:
    """Requests per second during the reloads; ``gone`` are clients that leave before their answer."""

    good: float = 100.0
    bad: float = 3.0
    gone: float = 2.0
    grpc: float = 5.0


@dataclass(frozen=True)
class Reloads:
    """The result of the reloads.

    Attributes:
        reload_s: seconds of each, from the call to its answer.
        sizes: of the process before the first one and after each, under load.
        settled: of the process some seconds after the last one, without load.
        tally: of the requests.
        growth: MB of memory per reload, after the first ``SETTLED_AFTER``.
    """

    reload_s: list[float]
    sizes: list[Size]
    settled: Size
    tally: Tally
    growth: Growth

    @property
    def faults(self) -> list[str]:
        """Broken limits, in words; empty without any."""
        counts = {
            "good requests without 200": self.tally.lost,
            "wrong answers": sum(self.tally.wrong.values()),
            "bad requests without 4xx": sum(self.tally.accepted.values()),
        }
        found = [f"{count} {what}" for what, count in counts.items() if count]
        return found + [f"memory grows by {self.growth.slope:.3f} MB per reload"] * self.growth.leaks

    def latency_ms(self, percent: float) -> float:
        """Of the requests, from when each was due."""
        return float(np.percentile(self.tally.latencies_s, percent)) * 1e3


def measure_reloads(
    versions: Sequence[Path],
    *,
    reloads: int,
    rates: Rates,
    settled_after: int = SETTLED_AFTER,
    limit_mb: float = SLOPE_LIMIT_MB,
    pause_s: float = 0.0,
    command: Sequence[str] = SERVE,
) -> Reloads:
    """Publish a version of one model after the other, load it, and remove the previous one, under load.

    Args:
        versions: published versions, one of each model, with one input each; their copies are published.
        reloads: number of reloads, all models together.
        rates: of the requests, spread over all models.
        settled_after: reloads that do not count for the growth of memory.
        limit_mb: allowed growth per reload.
        pause_s: between two reloads.
        command: starts the service; its flags are appended.
    """
    with tempfile.TemporaryDirectory(prefix="atelier-reload-") as folder:
        models, sources = Path(folder) / "models", [Path(folder) / each.parent.name / each.name for each in versions]
        for version, source in zip(versions, sources, strict=True):
            shutil.copytree(version, source)
            shutil.copytree(version, models / source.parent.name / source.name)
        asks = asks_for(sources)
        with serving(models, "--watch", "off", "--grpc-port", "0", command=command) as service:
            traffic = Traffic(
                service.address,
                good=asks.good,
                good_per_s=rates.good,
                bad=asks.bad,
                bad_per_s=rates.bad,
                gone_per_s=rates.gone,
                grpc=asks.grpc,
                grpc_port=service.grpc_port,
                grpc_per_s=rates.grpc,
            )
            changes, reload_s, sizes = Changes(service, models, sources), [], [service.size()]
            with traffic:
                for number in range(reloads):
                    began = time.perf_counter()
                    changes.replace(sources[number % len(sources)].parent.name)
                    reload_s.append(time.perf_counter() - began)
                    time.sleep(pause_s)
                    sizes.append(service.size())
            time.sleep(SETTLES_S)
            settled = service.size()
    resident = [each.resident_mb for each in sizes]
    growth = measure_growth(range(len(resident)), resident, after=settled_after, limit=limit_mb)
    return Reloads(reload_s, sizes, settled, traffic.tally, growth)
